"""The gathered judgement of draws: right figures in the right places, warnings, files."""

import json

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.results import write_figures
from sde_ct.uncertainty import averaging, scores
from sde_ct.uncertainty.averaging import error_by_draws
from sde_ct.uncertainty.draws import collapse_warning
from sde_ct.uncertainty.intervals import bootstrap_interval
from sde_ct.uncertainty.judgement import judge, lines, over_patients, record, warnings

SHAPE = (14, 12, 10)
TISSUES = ("air", "soft", "bone")


def _patient(seed, scale=1.0, draws=8):
    rng = np.random.default_rng(seed)
    centre = rng.choice([-800.0, 30.0, 700.0], SHAPE)
    members = centre + scale * rng.normal(0, 40, (draws, *SHAPE))
    mask = np.zeros(SHAPE, bool)
    mask[2:-2, 2:-2] = True
    return members.astype(np.float32), centre + rng.normal(0, 40, SHAPE), mask


@pytest.fixture(scope="module")
def judged():
    return {
        "EM-M": over_patients({f"p{i}": judge(*_patient(i)) for i in range(3)}),
        "PC-M": over_patients({f"p{i}": judge(*_patient(i, 0.3)) for i in range(3)}),
    }


def test_one_patient_is_judged_over_the_mask_and_its_tissues(judged):
    draws, ct, mask = _patient(0)
    got = judged["EM-M"].patients["p0"]
    parts = {"all": mask, "air": mask & (ct < -200), "bone": mask & (ct > 200)}
    parts["soft"] = mask & ~parts["air"] & ~parts["bone"]
    mean = draws.mean(axis=0, dtype=float)
    parts |= {"shown air": mask & (mean < -200), "shown bone": mask & (mean > 200)}
    parts["shown soft"] = mask & ~parts["shown air"] & ~parts["shown bone"]
    assert list(got.by_tissue) == ["all", *TISSUES, *(f"shown {name}" for name in TISSUES)]
    for tissue, part in parts.items():
        x, y = draws[:, part], ct[part]
        spread, error = x.std(axis=0, ddof=1, dtype=float), x.mean(axis=0, dtype=float) - y
        of_tissue = got.by_tissue[tissue]
        assert of_tissue.crps == pytest.approx(scores.fair_crps(x, y))
        assert of_tissue.spread_skill == pytest.approx(scores.spread_skill(spread, error, 8))
        assert of_tissue.ranks.shares == pytest.approx(scores.rank_histogram(x, y).shares)
        if tissue == "all":
            assert got.figures["spread"] == pytest.approx(spread.mean())
            assert got.figures["spearman"] == pytest.approx(scores.spearman(spread, error))
            assert got.figures["crps"] == of_tissue.crps
    expected = error_by_draws(draws[:, mask], ct[mask])
    assert got.by_draws.rmse == pytest.approx(expected.rmse) and got.draws == 8
    wild = np.where(mask, draws, np.nan)
    assert judge(wild, ct, mask).by_draws.limit == got.by_draws.limit
    without_bone = list(judge(draws, np.minimum(ct, 100), mask).by_tissue)
    assert without_bone == ["all", "air", "soft", *(f"shown {name}" for name in TISSUES)]


def test_the_record_is_plain_and_complete(judged, tmp_path):
    for name in "ab":
        write_figures(tmp_path / name, record(judged))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = json.loads((tmp_path / "a").read_text())
    method = found["methods"]["EM-M"]
    assert set(method["patients"]) == {"p0", "p1", "p2"}
    one = method["patients"]["p1"]["by_tissue"]["all"]
    kept = judged["EM-M"].patients["p1"].by_tissue["all"]
    assert one["crps"] == kept.crps and one["ause"] == kept.ause
    assert one["coverage"]["nominal"] == pytest.approx([7 / 9, 5 / 9, 3 / 9, 1 / 9])
    assert len(one["ranks"]["shares"]) == 9 and len(one["sparsification"]["oracle"]) == 20
    over = method["over_patients"]["bone"]["spread_skill"]
    values = [j.by_tissue["bone"].spread_skill for j in judged["EM-M"].patients.values()]
    assert over["mean"] == pytest.approx(np.mean(values)) and over["patients"] == 3
    low, high = over["interval"]
    assert low < over["mean"] < high
    pooled = averaging.over_patients([j.by_draws for j in judged["EM-M"].patients.values()])
    assert method["error_by_draws"]["rmse"] == pooled.rmse.tolist()
    assert found["caveat"].startswith("3 patients") and found["interval_level"] == 0.95


def test_a_spread_that_says_little_is_named(judged):
    """Spreads of 0.3 of the error: √(9/8 · 0.09 / (1 + 0.09/8)) = 32 %."""
    found = warnings(judged)
    assert [sentence.split(":")[0] for sentence in found] == [f"PC-M, p{i}" for i in range(3)]
    # 800 voxels: 4 % of the share.
    shares = [float(sentence.split("draws is ")[1].split("%")[0]) for sentence in found]
    assert shares == pytest.approx([32] * 3, abs=4)
    assert record(judged)["warnings"] == found


def test_lines_for_a_terminal(judged):
    text = lines(judged, ("all", "bone"))
    assert text[0].split() == [
        *("method", "tissue", "spread-skill", "coverage", "(78%)", "CRPS", "ENCE", "AUSE")
    ]
    assert [line.split()[:2] for line in text[1:5]] == [
        *(["EM-M", "all"], ["EM-M", "bone"], ["PC-M", "all"], ["PC-M", "bone"])
    ]
    figures = text[1].split()
    assert float(figures[2]) == pytest.approx(1, abs=0.1)
    # Range coverage of 2700 voxels against 7/9.
    assert float(figures[5].rstrip("%")) == pytest.approx(77.8, abs=4)
    assert text[5].startswith("EM-M: the mean of 1 draw errs by ")
    assert text[-1].startswith("warning: PC-M, p2: The spread of the 8 draws is")


def test_calibrated_draws_look_too_soft_where_the_ct_came_out_dense():
    rng = np.random.default_rng(11)
    shape = (30, 30, 20)
    draws, truth = rng.normal(150, 150, (10, *shape)), rng.normal(150, 150, shape)
    got = judge(draws, truth, np.ones(shape)).by_tissue
    # 4.5 standard errors of a share of 18000 voxels, for 11 shares at once.
    assert got["all"].ranks.shares == pytest.approx(np.full(11, 1 / 11), abs=0.0097)
    # Bone is above 200 HU, the 63rd percentile: no truth of it is below the median draw but by
    # the draws' own chance.
    assert got["bone"].ranks.shares[:5].sum() < 0.1
    assert got["bone"].ranks.shares[6:].sum() > 0.8


def test_warnings_of_a_spread():
    """Spread-skill is √(1.1 k² / (1 + k² / 10)): 0.313 and 1."""
    rng = np.random.default_rng(13)
    shape = (30, 30, 20)
    truth, sigma = rng.normal(0, 40, shape), rng.uniform(10, 60, shape)
    centre, mask = truth + sigma * rng.normal(0, 1, shape), np.ones(shape)
    narrow, right = (
        judge(centre + k * sigma * rng.normal(0, 1, (10, *shape)), truth, mask).warning
        for k in (0.3, 1.0)
    )
    share = float(narrow.split("draws is ")[1].split("%")[0])
    assert share == pytest.approx(31, abs=1)  # 18000 voxels: 1.5 % of it, and rounding
    assert right is None
    alike = judge(centre + 0.5 * rng.normal(0, 1, (10, *shape)), truth, mask)
    assert "10 draws have a mean spread of 0.5 HU" in alike.warning
    assert collapse_warning(1.0, 10) is None


def test_figures_over_patients():
    """The second of three patients has a collapsed spread, whose infinite ENCE does not count,
    and the last has no bone."""
    cases = [_patient(20 + i) for i in range(3)]
    cases[1] = (np.repeat(cases[1][0].mean(axis=0, keepdims=True), 8, axis=0), *cases[1][1:])
    cases[2] = (cases[2][0], np.minimum(cases[2][1], 100), cases[2][2])
    got = over_patients({f"p{i}": judge(*case) for i, case in enumerate(cases)})
    means, judged = got.over_patients, [one.by_tissue for one in got.patients.values()]
    assert [means[tissue]["crps"].patients for tissue in ("all", "bone")] == [3, 2]
    assert means["all"]["ence"].patients == 2
    values = [one["all"].crps for one in judged]
    assert means["all"]["crps"].mean == pytest.approx(np.mean(values))
    assert means["all"]["crps"].interval == bootstrap_interval(values)
    assert means["bone"]["range_coverage"].mean == pytest.approx(
        np.mean([one["bone"].coverage.observed[0] for one in judged[:2]])
    )


def test_what_cannot_be_judged():
    draws, ct, mask = _patient(30)
    with pytest.raises(InputError, match="at least 2 draws"):
        judge(draws[:1], ct, mask)
    with pytest.raises(InputError, match="mask is empty"):
        judge(draws, ct, ~mask & mask)
    few = np.zeros_like(mask)
    few[tuple(np.argwhere(mask)[:4].T)] = True
    with pytest.raises(InputError, match="The mask holds 4 voxels: give one with at least 10"):
        judge(draws, ct, few)
    third = np.arange(8)[:, None, None, None] == 3
    with pytest.raises(InputError, match="draw 3 holds NaN"):
        judge(np.where(third, np.nan, draws), ct, mask)
