"""The fit on made-up patients, and the verdict with its reasons in order."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sde_ct.acceptance import reference as references
from sde_ct.acceptance.anatomy import FLIPS
from sde_ct.acceptance.features import FEATURES, TISSUES
from sde_ct.acceptance.fit import fit
from sde_ct.acceptance.patient import Measured
from sde_ct.acceptance.verdict import judge
from sde_ct.errors import InputError

# Figures that are made by `Reference.features`.
MADE = ("anatomy", "anatomy_worst", "mirrored_odds", "turned", "contrast")


def patient(number, spread=60.0, error=None, **values):
    """A patient whose figures vary by a few percent, and whose left and right differ."""
    rng = np.random.default_rng(number)
    figures = {
        name: 100 * np.exp(0.03 * rng.normal())
        for name in FEATURES
        if name not in MADE and not name.startswith("error")
    }
    figures |= {
        f"spread_{t}": spread * np.exp(0.03 * rng.normal()) for t in ("body", "bone", "soft")
    }
    figures |= {"body_volume": 9000 * np.exp(0.1 * rng.normal()), "not_finite": 0.0}
    slices = np.linspace(0, 5, 12)[:, None] + rng.normal(size=(12, 8)) * 0.1
    mae = spread if error is None else error
    return Measured(
        name=f"p{number}",
        values=figures | values,
        grey_values=np.arange(5.0, 100, 5) + rng.normal(size=19),
        asymmetry=np.linspace(1, 2, 12) + 0.3 * rng.normal(size=12),
        flips=[slices + sum(axes) for axes in FLIPS],
        errors={t: mae * np.exp(0.05 * rng.normal()) for t in TISSUES},
    )


def fit_on(validation):
    training = [patient(n) for n in range(30)]
    altered = [patient(n, spread=60 + 4 * n) for n in range(30)]
    return fit(training, altered, [patient(n) for n in validation])


@pytest.fixture(scope="module")
def fitted():
    return fit_on(range(100, 139))


def test_new_patients_of_the_kind_pass(fitted):
    verdicts = [judge(fitted, fitted.features(patient(n))) for n in range(200, 300)]
    # 5 % of 100, within its binomial interval and that of a fit on 39 patients.
    assert sum(bool(v.reasons) for v in verdicts) <= 15


def test_the_bound_of_the_error_holds_for_its_share():
    """A fit on 39 patients bounds 95 % of new ones on average; over six fits ± 1.4 %."""
    shares = []
    for first in range(1000, 1600, 100):
        fitted = fit_on(range(first, first + 39))
        new = [patient(n) for n in range(first + 39, first + 79)]
        verdicts = [judge(fitted, fitted.features(one)) for one in new]
        pairs = zip(new, verdicts, strict=True)
        shares.append(np.mean([p.errors["body"] <= v.errors["body"][1] for p, v in pairs]))
    assert np.mean(shares) >= 0.9
    assert "for at least 90% of new patients" in verdicts[0].bound


def test_the_predicted_error_grows_with_the_spread(fitted):
    predicted = [fitted.features(patient(7, spread=s))["error_body"] for s in (60, 90, 150)]
    assert predicted == sorted(predicted)
    assert predicted[2] / predicted[0] > 1.5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"voxel_z": 150.0}, "grid"),
        ({"void": 300.0}, "implant"),
        ({"touching_x": 200.0, "width": 200.0}, "truncated"),  # causes come before consequences
        ({"spread_body": 5.0}, "spread"),
        ({"not_finite": 0.1}, "draws"),
        ({"noise": 180.0, "air_hu": 900.0}, "noise"),  # the CT's faults follow from the MR's
    ],
)
def test_the_first_reason_is_the_cause(fitted, changes, reason):
    verdict = judge(fitted, fitted.features(patient(500, **changes)))
    assert verdict.word == "REVIEW"
    assert verdict.reasons[0].name == reason


def test_a_cause_that_no_patient_had_is_named_before_its_consequences(fitted):
    """Though it passes alone; a figure within the range of the fit's patients is not named."""
    score = (fitted.largest["noise"] + fitted.threshold) / 2
    assert fitted.largest["noise"] < score < fitted.threshold
    noise = np.exp(fitted.centre["noise"] + score * fitted.scale["noise"])
    features = fitted.features(patient(201, noise=noise))
    assert not judge(fitted, features).reasons
    cause, consequence = judge(fitted, features | {"air_hu": 900.0}).reasons
    assert (cause.name, consequence.name) == ("noise", "air")
    assert cause.weight < 1 < consequence.weight
    assert cause.sentence.endswith("in the patients of the fit.")
    usual = fitted.features(patient(201)) | {"air_hu": 900.0}
    assert [one.name for one in judge(fitted, usual).reasons] == ["air"]


@pytest.mark.parametrize(
    ("mild", "names"),
    [
        ("noise", ["body", "orientation", "noise"]),
        ("contrast", ["body", "contrast", "orientation"]),
        ("touching_x", ["truncated", "body", "orientation"]),
    ],
)
def test_a_mild_cause_is_named_before_what_follows_from_it(fitted, mild, names):
    """Grey values change what looks mirrored, and a cut makes a body small; noise does neither."""
    score = (fitted.largest[mild] + fitted.threshold) / 2
    value = fitted.centre[mild] + score * fitted.scale[mild]
    features = fitted.features(patient(201)) | {"mirrored_odds": 100.0, "area": 20.0}
    features[mild] = np.exp(value) if FEATURES[mild].log else value
    assert [one.name for one in judge(fitted, features).reasons] == names


def test_a_weight_that_is_rounded_to_1_is_no_mild_cause(fitted):
    def at(name, weight):
        score = weight * fitted.threshold * fitted.scale[name]
        return {name: np.exp(fitted.centre[name] + score)}

    features = fitted.features(patient(201)) | at("anatomy", 1.5) | at("seam", 1.002)
    assert [one.name for one in judge(fitted, features).reasons] == ["anatomy", "seams"]


def test_a_turned_and_a_mirrored_patient_are_named_so(fitted):
    upright = patient(501)
    turned = upright._replace(flips=upright.flips[::-1])
    for one in (turned, upright._replace(asymmetry=-upright.asymmetry)):
        verdict = judge(fitted, fitted.features(one))
        assert verdict.reasons[0].name == "orientation"


def test_grey_values_count_by_their_standard_deviations(fitted):
    """Twice the deviation gives more than twice the score: the usual one is subtracted from both.

    Its logarithm would give less than twice the score, and would hide suppressed fat.
    """
    usual, deviation = map(np.array, fitted.grey_values)
    off = [patient(502)._replace(grey_values=usual + n * deviation) for n in (6, 12)]
    scores = [fitted.scores(fitted.features(one))["contrast"] for one in off]
    assert scores[1] > 2 * scores[0] > 0


def test_an_mr_that_is_unlike_the_training_in_any_orientation_is_not_called_turned(fitted):
    upright = patient(501)
    unlike = upright._replace(flips=[one + 20 for one in upright.flips[::-1]])
    names = [one.name for one in judge(fitted, fitted.features(unlike)).reasons]
    assert names[0] == "anatomy" and "orientation" not in names


def test_tissue_in_the_air_is_named_once_and_after_what_the_mr_shows(fitted):
    one = patient(201, width=400.0, air_hu=500.0)
    verdict = judge(fitted, fitted.features(one), [("air", "Tissue."), ("header", "T1.")])
    names = [reason.name for reason in verdict.reasons]
    assert names[:2] == ["header", "body"] and names.count("air") == 1
    assert next(one for one in verdict.reasons if one.name == "air").sentence == "Tissue."
    assert verdict.short == "REVIEW: air"  # in the list of series, it must not be used


def test_facts_and_a_limit_of_the_range_need_no_threshold(fitted):
    features = fitted.features(patient(201))
    wide = judge(fitted, features, [("header", "T1.")], [("0", 4.0), ("90", 7.5)], limit=5.0)
    assert [one.name for one in wide.reasons] == ["header", "range"]
    assert wide.reasons[1].sentence == (
        "The interval of the path length 90 is 7.5 mm wide; the limit is 5 mm."
    )
    assert not judge(fitted, features, ranges=[("0", 4.0)], limit=5.0).reasons


def test_the_reference_is_read_as_it_was_written(fitted, tmp_path):
    path = tmp_path / references.NAME
    references.write(path, fitted)
    new = patient(202)
    again = references.read(path)
    for name, value in fitted.features(new).items():
        assert again.features(new)[name] == pytest.approx(value, rel=1e-3, nan_ok=True)
    json.dumps(judge(again, again.features(new)).to_json(), allow_nan=False)
    with pytest.raises(InputError, match="exists: remove it"):
        references.write(path, fitted)
    # An earlier version had other figures; ignoring them would leave out a reason.
    other = json.loads(path.read_text())
    other["centre"]["mirrored"] = -0.8
    for record in ({}, other):
        path.write_text(json.dumps(record))
        with pytest.raises(InputError, match=r"is damaged or of another version \(.*\): remove it"):
            references.read(path)


def test_a_value_that_is_refused_is_shown_outside_of_what_passes(fitted):
    """Three digits would show 447.3 of at most 447.1 as 447 of 447."""
    scale, centre = fitted.scale["field_x"], fitted.centre["field_x"]
    end = np.exp(centre + scale * fitted.threshold)
    one = patient(200, field_x=1.0005 * end)
    (reason,) = judge(fitted, fitted.features(one)).reasons
    shown, allowed = reason.sentence.split(": ")[1].split("; ")
    assert float(shown.split()[0]) > float(allowed.split(" to ")[1].split()[0])


def test_a_bound_that_would_hold_for_few_patients_is_not_given():
    """Of one validation patient, a bound would hold for 10 % of new ones with 90 % confidence."""
    few, many = (fit_on(range(100, 100 + n)) for n in (1, 39))
    one = patient(200)
    verdict = judge(few, few.features(one))
    assert "the validation patients are too few, and 22 give one for 90%" in verdict.bound
    assert {most for _, most in verdict.errors.values()} == {None}
    assert not any(", bound" in line for line in verdict.lines())
    assert verdict.to_json()["mae_bound_hu"]["body"] is None
    verdict = judge(many, many.features(one))
    assert "for at least 90%" in verdict.bound
    assert all(most >= mae for mae, most in verdict.errors.values())
    bone = many.errors["bone"]._replace(promised=0.1)  # as if one validation patient showed bone
    verdict = judge(replace(many, errors={**many.errors, "bone": bone}), many.features(one))
    assert "for at least 90%" in verdict.bound
    assert verdict.errors["bone"][1] is None and verdict.errors["body"][1] is not None


def test_too_few_patients_are_refused():
    with pytest.raises(InputError, match="2 training and 1 validation patients are too few"):
        fit([patient(0), patient(1)], [], [patient(2)])


def test_a_ct_with_too_little_bone_has_a_larger_predicted_error():
    """Where errors grow with the missing bone, the fitted weights follow them."""
    patients = [patient(n, bone_volume=100 * 0.98**n, error=50 * 1.02**n) for n in range(30)]
    fitted = fit(patients, [], patients)
    low, high = (fitted.features(patient(300, bone_volume=v))["error_bone"] for v in (60, 95))
    # The error is as the inverse of the volume, 95 / 60, within the 5 % noise of 30 patients. One
    # of the two fits in bone sees the volume, so the prediction is as its square root.
    assert low / high == pytest.approx((95 / 60) ** 0.5, rel=0.1)
    body = [fitted.features(patient(300, bone_volume=v))["error_body"] for v in (60, 95)]
    assert body[0] / body[1] == pytest.approx(95 / 60, rel=0.1)


def test_a_single_validation_patient_with_a_small_error_leaves_examples():
    """All others err ten times as much, so none lies within the usual limit."""
    fitted = fit([patient(n) for n in range(30)], [], [patient(100, error=6.0)])
    assert 0 < fitted.features(patient(200))["error_body"] < 12


def test_strong_alterations_do_not_set_the_weights():
    """Errors grow with the square root of the spread, and in strong alterations as its square."""
    usual = [patient(n, spread=60 * 1.01**n, error=60 * 1.01 ** (n / 2)) for n in range(30)]
    strong = [patient(n, spread=240 + n, error=960 + 8 * n) for n in range(20)]
    with_strong, without = (fit(usual, some, usual) for some in (strong, []))
    weights = [
        dict(zip(one.errors["soft"].names, one.errors["soft"].weights, strict=True))["spread_soft"]
        for one in (with_strong, without)
    ]
    assert weights[0] == pytest.approx(weights[1], abs=0.05)
    assert weights[1] == pytest.approx(0.5, abs=0.25)  # noise of 3 and 5 % in 30 patients
