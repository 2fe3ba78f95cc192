"""Bounds of patients' figures: which score they take, and how often they hold."""

import json
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde_ct.errors import InputError
from sde_ct.uncertainty.patient_bounds import FLOORS, Patient, PatientBounds, fit_bounds

PATH = {"figure": "water-equivalent path length", "unit": "mm"}


def _of_scores(*scores):
    """Patients with these |truth - mean| / s, for a spread that gives s = 1 mm."""
    spread = np.sqrt(1 - FLOORS["mm"] ** 2)
    return [
        Patient(np.array(s), np.zeros(np.shape(s)), np.full(np.shape(s), spread)) for s in scores
    ]


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=30),
    st.sampled_from([0.5, 0.6, 2 / 3, 0.75, 0.8, 0.9, 0.95]),
)
@settings(max_examples=100, deadline=None)
def test_one_value_each_takes_the_conformal_rank(scores, coverage):
    """The score of rank ⌈(K + 1) · coverage⌉; none where that is more than K."""
    found = fit_bounds(_of_scores(*scores), coverage=coverage, **PATH)
    # Without rounding to 6 digits, 20 · 0.95 could be a little more than 19, and its ceiling 20.
    rank = int(np.ceil(np.round((len(scores) + 1) * coverage, 6)))
    expected = sorted(scores)[rank - 1] if rank <= len(scores) else inf
    assert found.half_width == pytest.approx(expected, abs=1e-9)
    shuffled = np.random.default_rng(0).permutation(scores)
    again = fit_bounds(_of_scores(*shuffled), coverage=coverage, **PATH)
    assert again.half_width == pytest.approx(found.half_width)


def test_patients_with_many_rays_weigh_no_more():
    """One patient with 100 rays of score 1 and one with a single ray of score 5: of 60 % in a new
    patient, 60 % · 3/2 = 90 % of the weight of both must lie below."""
    two = _of_scores([1.0] * 100, [5.0])
    assert fit_bounds(two, coverage=0.6, **PATH).half_width == pytest.approx(5)
    assert fit_bounds(two, coverage=0.3, **PATH).half_width == pytest.approx(1)
    # One patient guarantees 50 % at most, which takes all of his rays; 25 % takes half of them.
    (one,) = _of_scores([1.0, 2, 3, 4])
    assert fit_bounds([one], coverage=0.5, **PATH).half_width == pytest.approx(4)
    assert fit_bounds([one], coverage=0.25, **PATH).half_width == pytest.approx(2)


def _patient(rng, rays):
    """A patient whose rays all err by the same number of spreads, up or down."""
    error, spread = 3 * rng.standard_t(4), rng.uniform(1, 3, rays)
    mean, s = rng.uniform(100, 200, rays), np.hypot(spread, FLOORS["mm"])
    return Patient(mean + error * s * rng.choice([-1, 1], rays), mean, spread)


@pytest.mark.parametrize("k, coverage", [(9, 0.9), (19, 0.9), (3, 0.75), (19, 0.5)])
def test_one_value_of_a_new_patient_is_covered_as_often_as_stated(k, coverage):
    """(K + 1) · coverage is whole, so the coverage is exact for any law without ties."""
    rng, times = np.random.default_rng([k, int(100 * coverage)]), 2000
    hits = 0
    for _ in range(times):
        found = fit_bounds([_patient(rng, 1) for _ in range(k)], coverage=coverage, **PATH)
        hits += found.covered([_patient(rng, 1)])[0]
    assert hits / times == pytest.approx(
        coverage, abs=4 * np.sqrt(coverage * (1 - coverage) / times)
    )


@pytest.mark.slow
def test_rays_of_a_new_patient_are_covered_as_often_as_stated():
    """Of 11 patients whose rays err alike, the tenth-largest error is needed for 80 %, and holds
    for 10/12. If each of the 6 rays counted as a patient, the score of rank ⌈67 · 0.8⌉ = 54 would
    be of the ninth patient, and hold for 9/12 only."""
    rng, k, rays, coverage = np.random.default_rng(5), 11, 6, 0.8
    shares, by_ray = [], []
    for _ in range(1500):
        patients, new = [_patient(rng, rays) for _ in range(k)], _patient(rng, rays)
        shares.append(fit_bounds(patients, coverage=coverage, **PATH).covered([new])[0])
        each = [Patient(*ray) for patient in patients for ray in zip(*patient, strict=True)]
        by_ray.append(fit_bounds(each, coverage=coverage, **PATH).covered([new])[0])
    for found, exact in ((shares, 10 / 12), (by_ray, 9 / 12)):
        error = np.sqrt(exact * (1 - exact) / len(found))  # rays are covered together or not at all
        assert np.mean(found) == pytest.approx(exact, abs=4 * error)


def test_bounds_by_hand():
    found = PatientBounds("mean HU of the bladder", "HU", 0.9, 1.0, 2.0, 9)
    lower, upper = found.apply(np.array([10.0, -20]), np.array([0.0, np.sqrt(24)]))
    assert lower == pytest.approx([8, -30]) and upper == pytest.approx([12, -10])
    one = found.apply(10.0, 0.0)
    assert (one.lower, one.upper) == (8, 12)
    inside = Patient(np.array([8.0, 12, 13, 7]), np.full(4, 10.0), np.zeros(4))
    assert found.covered([inside, Patient(11, 10, 0)]).tolist() == [0.5, 1]


def test_the_guarantee_is_that_of_the_number_of_patients():
    nine = fit_bounds(_of_scores(*range(9)), **PATH)
    assert nine.half_width == pytest.approx(8)  # 90 % of new patients need the largest of nine
    assert nine.guarantee.startswith(
        "With 9 validation patients, at least 90 % of new patients' values (water-equivalent path "
        "length) lie within the bounds, on average over new patients"
    )
    four = fit_bounds(_of_scores(*range(4)), **PATH)
    assert four.apply(3.0, 1.0) == (-inf, inf) and four.covered(_of_scores(99)) == [1]
    assert four.guarantee == (
        "With 4 validation patients at most 80 % can be guaranteed, so the bounds (water-equivalent"
        " path length) for 90 % are infinite: calibrate with at least 9 patients, or ask for at "
        "most 80 %."
    )
    assert np.isfinite(fit_bounds(_of_scores(*range(4)), coverage=0.8, **PATH).half_width)
    one = fit_bounds(_of_scores(1), coverage=0.95, **PATH)
    assert "1 validation patient at most 50 %" in one.guarantee
    assert "at least 19 patients" in one.guarantee
    # Two thirds are a little more than 66 %, which can be kept, and less than 67 %.
    assert "at most 66 %" in fit_bounds(_of_scores(1, 2), **PATH).guarantee


@pytest.mark.parametrize("patients", [4, 9])
def test_the_record_gives_back_what_was_fitted(patients):
    found = fit_bounds(_of_scores(*range(patients)), **PATH)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert PatientBounds.from_json(json.loads(text)) == found
    assert json.loads(text)["guarantee"] == found.guarantee


DAMAGED = {
    "figure": 3,
    "unit": "cm",
    "coverage": 90,
    "floor": 0,
    "half_width": None,  # nine patients are enough for 90 %
    "patients": 8,  # and eight are not
}


@pytest.mark.parametrize("field", DAMAGED)
def test_a_damaged_record_is_refused(field):
    good = fit_bounds(_of_scores(*range(9)), **PATH).to_json()
    for value in (DAMAGED[field], float("nan"), [], -1, "9"):
        if (field, value) == ("figure", "9"):
            continue  # this is a name
        with pytest.raises(ValueError, match=f"{field} "):
            PatientBounds.from_json(good | {field: value})
    del good[field]
    with pytest.raises(ValueError, match=f"it lacks '{field}'"):
        PatientBounds.from_json(good)


def test_what_cannot_be_fitted():
    good = _of_scores(1, 2)
    for coverage in (0, 1, 90):
        with pytest.raises(InputError, match=r"give 0\.9 for 90 %"):
            fit_bounds(good, coverage=coverage, **PATH)
    with pytest.raises(InputError, match="no unit 'cm': give mm or HU"):
        fit_bounds(good, figure="path", unit="cm")
    with pytest.raises(InputError, match=r"Bounds \(water.* need at least one"):
        fit_bounds([], **PATH)
    with pytest.raises(InputError, match="2 true values, 1 means and 2 spreads"):
        fit_bounds([Patient(np.zeros(2), 0.0, np.zeros(2))], **PATH)
    with pytest.raises(InputError, match="0 true values"):
        fit_bounds([Patient(np.zeros(0), np.zeros(0), np.zeros(0))], **PATH)
    for bad in (Patient(np.nan, 0, 1), Patient(0, np.inf, 1), Patient(0, 0, -1)):
        with pytest.raises(InputError, match=r"Validation patient 2 \(water.* not finite"):
            fit_bounds([*good, bad], **PATH)
