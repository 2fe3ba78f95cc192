"""Corrections of spreads whose fault is known in closed form."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from sde_ct.data.preparation.case import HU
from sde_ct.errors import InputError
from sde_ct.uncertainty import recalibration as rec
from sde_ct.uncertainty.recalibration_fit import Validation, fit, lines, record, verify
from sde_ct.uncertainty.scores import spread_skill

SHAPE = (16, 16, 10)
SETTINGS = {"sampler": "ode", "draws": 10}


def _patients(count, seed, *, draws=10):
    """Biased by half a σ and over-confident, in bone by 3 and elsewhere by 2; heavy tails."""
    patients = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        centre = rng.choice([-800.0, 30.0, 900.0], SHAPE)
        sigma = rng.uniform(10, 60, SHAPE)
        claimed = sigma / np.where(centre > 200, 3, 2)
        members = centre + 0.5 * sigma + claimed * rng.normal(0, 1, (draws, *SHAPE))
        truth = centre + sigma * stats.t(4).rvs(SHAPE, random_state=rng) / np.sqrt(2)
        spread = members.std(axis=0, ddof=1)
        patients.append(Validation(members.mean(axis=0), spread, truth, np.ones(SHAPE, bool)))
    return patients


def _skill(patient, spread):
    return spread_skill(spread, patient.mean - patient.ct, SETTINGS["draws"])


def test_scaled_spread_is_right_on_other_patients():
    found = fit(_patients(4, seed=1), **SETTINGS)
    # factor² = σ² (1 + 1/4 + 1/(M c²)) / (11/10 σ²/c²) for a spread too small by c.
    expected = {c: np.sqrt((1.25 + 0.1 / c**2) / 1.1) * c for c in (2, 3)}
    # The t of 4 degrees has no fourth moment: mean squares of 3400 voxels are rough.
    assert found.factors == pytest.approx([expected[2], expected[2], expected[3]], rel=0.1)
    assert sum(found.voxels) == 4 * 2560 and found.patients == (4, 4, 4)
    for patient in _patients(3, seed=2):
        assert _skill(patient, patient.spread) < 0.5
        scaled = found.apply(patient.mean, patient.spread).spread
        assert _skill(patient, scaled) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_intervals_cover_other_patients_whatever_is_wrong(level):
    """Draws of the wrong place, the wrong spread and tails of another kind."""
    found = fit(_patients(5, seed=3), coverage=level, **SETTINGS)
    inside, air, plain = [], [], []
    for mean, spread, ct, _ in _patients(5, seed=4):
        _, low, high = found.apply(mean, spread)
        inside.append(((low <= ct) & (ct <= high)).ravel())
        air.append(inside[-1][(mean < -200).ravel()])
        plain.append((np.abs(mean - ct) <= spread * special.ndtri((1 + level) / 2)).mean())
    assert np.mean(plain) < level - 0.1  # what the spread itself says, if errors were normal
    for hits in (np.concatenate(inside), np.concatenate(air)):
        # Twice a binomial variance: of the fresh voxels, and of as many fitted ones. Rounding
        # outwards, half a HU on each side of intervals tens of HU wide, covers 1 % more at most.
        error = np.sqrt(2 * level * (1 - level) / hits.size)
        assert level - 4 * error < hits.mean() < level + 4 * error + 0.01


def test_verification_against_closed_forms():
    """Errors N(0, (2 s)²) about spreads s, corrected by factors and half-widths made up here."""
    rng = np.random.default_rng(7)
    spread = rng.uniform(100, 200, SHAPE)
    patients = [
        Validation(np.zeros(SHAPE), spread, 2 * spread * rng.normal(size=SHAPE), np.ones(SHAPE))
        for _ in range(4)
    ]
    made_up = rec.Recalibration(0.8, "ode", 10, *(rec.ByTissue(9, v, 9) for v in (2.5, 3, 4, 9)))
    got = verify(made_up, patients)
    assert list(got)[:2] == ["all", "soft"] and got["all"] == got["soft"]
    assert all(name.startswith("real ") for name in list(got)[2:])  # the mean is soft everywhere
    z = stats.norm.ppf(0.9) * np.sqrt(1.1)
    # 10240 voxels: a share is known to 0.5 %, rounding of 1 HU outwards in 300 adds 0.1 %.
    for figure, half in (("before", z), ("after", 3)):
        expected = 2 * stats.norm.cdf(half / 2) - 1
        assert getattr(got["all"], figure) == pytest.approx(expected, abs=0.02)
    low, high = got["all"].interval
    assert low < got["all"].after < high and got["all"].patients == 4
    assert got["all"].skill_before == pytest.approx(np.sqrt(1.1) / 2, rel=0.03)
    assert got["all"].skill_after == pytest.approx(2.5 * got["all"].skill_before)
    text = "\n".join(lines(made_up, got))
    # Four patients fitted soft tissue, by the made-up 4: 0.8 · 4 / 5.
    assert "made for a coverage of 80%" in text and "soft 64%" in text and "4 patients: " in text


def test_bone_that_the_mean_misses_counts_as_real_bone_only():
    """A tenth of the real bone looks soft in the mean: 870 HU wrong, far outside the intervals."""
    patients = []
    for mean, spread, ct, mask in _patients(4, seed=8):
        missed = (ct > 500) & (np.random.default_rng(8).random(ct.shape) < 0.1)
        patients.append(Validation(np.where(missed, 30.0, mean), spread, ct, mask))
    got = verify(fit(_patients(4, seed=9), **SETTINGS), patients)
    assert set(got) == {
        "all",
        *(f"{of}{n}" for of in ("", "real ") for n in ("air", "soft", "bone")),
    }
    # All missed voxels lie in "real bone"; the others are covered there as in "bone".
    assert got["real bone"].after == pytest.approx(0.9 * got["bone"].after, abs=0.02)
    assert got["real soft"].after > got["soft"].after + 0.02
    assert "real bone" in "\n".join(lines(fit(patients, **SETTINGS), got))


def test_patients_who_differ_are_covered_as_guaranteed():
    """Five patients, each with an error scale of its own: the voxels say little of the sixth, and
    the coverage of a new patient's voxel, over many fits, stays above K / (K + 1) of the level."""
    rng = np.random.default_rng(9)
    level, hits, shape = 0.9, [], (20, 1, 1)
    mask = np.ones(shape, bool)

    def patient():
        scale = np.exp(rng.normal(0, 1.5))
        return Validation(
            np.zeros(shape), np.full(shape, 20.0), scale * rng.normal(size=shape), mask
        )

    for _ in range(1000):
        found = fit([patient() for _ in range(5)], coverage=level, **SETTINGS)
        half = found.half_widths.soft * np.hypot(20, 1)  # unrounded
        hits.append((np.abs(patient().ct) <= half).mean())
    assert found.guaranteed == pytest.approx((0, 0.75, 0))
    error = np.std(hits) / np.sqrt(len(hits))
    assert np.mean(hits) > 0.75
    assert np.mean(hits) < level - 4 * error  # a promise of the level itself would be broken


def test_large_patients_weigh_no_more():
    """One patient of 100 voxels of error 10 spreads and one of 10,000 of error 1 in turn."""

    def patient(n, error):
        shape = (n, 1, 1)
        spread = np.full(shape, np.sqrt(24.0**2 - 1))
        return Validation(np.zeros(shape), spread, np.full(shape, 24.0 * error), np.ones(shape))

    two = [patient(100, 10), patient(10_000, 1)]
    assert fit(two, coverage=0.4, **SETTINGS).half_widths.soft == pytest.approx(1)
    found = fit(two, coverage=0.6, **SETTINGS)
    assert found.half_widths.soft == pytest.approx(10)
    variance = (24.0**2 - 1) * 1.1
    assert found.factors.soft == pytest.approx(24 * np.sqrt((100 + 1) / 2 / variance))


def test_intervals_of_collapsed_draws_are_still_right():
    rng = np.random.default_rng(10)
    shape = (20, 20, 10)
    spread = np.where(np.arange(10) == 0, 1e-3, 0.0) * np.ones(shape)

    def patient():
        return Validation(np.zeros(shape), spread, rng.normal(0, 40, shape), np.ones(shape))

    found = fit([patient()], **SETTINGS)
    _, low, high = found.apply(np.zeros(shape), np.zeros(shape))
    # The 90th percentile of 4000 scores is known to 2 %; up to 1 HU comes from rounding.
    assert high[0, 0, 0] == pytest.approx(40 * special.ndtri(0.95) + 0.5, rel=0.06)
    assert (low == -high).all() and (high == np.rint(high)).all()


def test_bounds_are_whole_hu_outwards_and_possible():
    found = rec.Recalibration(
        0.9, "ode", 10, rec.ByTissue(1, 2, 3), rec.ByTissue(1, 2, 3), rec.ByTissue(2, 2, 0),
        rec.ByTissue(50, 50, 0),
    )  # fmt: skip
    mean = np.array([-1000.0, 10.25, 700.0])[:, None, None]
    spread = np.array([30.0, 10.0, 0.0])[:, None, None]
    got = found.apply(mean, spread)
    assert got.spread.ravel() == pytest.approx([30, 20, 0])
    # -1000 - √901 is less than any CT holds; 10.25 ± 2 √101 = -9.85, 30.35; 700 ± 3.
    assert got.lower.ravel().tolist() == [-1024, -10, 697]
    assert got.upper.ravel().tolist() == [-969, 31, 703]
    assert found.guaranteed == pytest.approx((0.6, 0.6, 0))


def test_bounds_end_where_prepared_cts_do_and_cover_as_much():
    """The calibration judges CTs clipped to 12 bits: a bound beyond them says nothing more."""
    assert (rec.LOWEST, rec.HIGHEST) == HU
    one = rec.ByTissue(1, 1, 1)
    found = rec.Recalibration(0.9, "ode", 10, one, rec.ByTissue(4, 4, 4), one, one)
    mean = np.array([1900.0, 1900.0, 1200.0])[:, None, None]
    spread = np.array([500.0, 200.0, 100.0])[:, None, None]
    _, lower, upper = found.apply(mean, spread)
    # Beyond the window of 2000 HU where the interval says so, never beyond 3071: an implant, which
    # preparation clips to 3071, is still covered.
    assert upper.ravel().tolist() == [3071, 2701, 1601]
    assert (lower <= mean).all() and (mean <= upper).all()


def test_a_tissue_nobody_had_takes_the_half_width_of_all():
    patients = [p._replace(mask=np.abs(p.mean) < 200) for p in _patients(2, seed=5)]
    found = fit(patients, **SETTINGS)
    assert found.voxels.air == found.voxels.bone == found.guaranteed.air == 0
    assert found.half_widths.air == found.half_widths.bone == found.half_widths.soft
    assert found.factors[::2] == (1, 1)


def test_the_file_gives_back_what_was_written(tmp_path):
    found = fit(_patients(2, seed=6), network={"step": 700}, **SETTINGS)
    found = replace(found, verified=record(verify(found, _patients(2, seed=7)), "test"))
    path = tmp_path / rec.NAME
    rec.write(path, found)
    assert rec.read(path) == found
    assert list(tmp_path.iterdir()) == [path]
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists: remove it"):
        rec.write(path, fit(_patients(3, seed=6), **SETTINGS))
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="does not exist: calibrate first"):
        rec.read(tmp_path / "none.json")
    content = json.loads(before)
    assert "not voxels outside the body" in content["holds_for"]
    content["half_widths"]["air"] = float("nan")
    for text in (
        "{",
        "[]",
        "{}",
        json.dumps(content),
        json.dumps(json.loads(before) | {"coverage": 9}),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=r"calibration\.json is damaged"):
            rec.read(path)


def test_what_cannot_be_fitted():
    (patient,) = _patients(1, seed=6)
    with pytest.raises(InputError, match="no validation patient"):
        fit([], **SETTINGS)
    with pytest.raises(InputError, match="at least 2 draws"):
        fit([patient], sampler="ode", draws=1)
    with pytest.raises(InputError, match="draws agree everywhere in air"):
        fit([patient._replace(spread=np.zeros(SHAPE))], **SETTINGS)
    for level in (0, 1, 90):
        with pytest.raises(InputError, match=r"give 0\.9 for 90 %"):
            fit([patient], coverage=level, **SETTINGS)
    few = np.zeros(SHAPE, bool)
    few[0, 0, :8] = True
    with pytest.raises(InputError, match="8 voxels are too few"):
        fit([patient._replace(mask=few)], **SETTINGS)
    few[0, 0, 8] = True
    fit([patient._replace(mask=few)], **SETTINGS)  # nine are enough for 90 %
    found = fit([patient], **SETTINGS)
    with pytest.raises(InputError, match="give both on one grid"):
        found.apply(patient.mean, patient.spread[1:])
