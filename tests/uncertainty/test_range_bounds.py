"""Bounds of path lengths: fitted, kept, applied and verified as `patient_bounds` says."""

import json

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.path_length import RangeFigures
from sde_ct.uncertainty.range_bounds import RangeBounds, fit_range_bounds, verified_bounds
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.ray_plan import RayPlan
from sde_ct.uncertainty.rays import Rays
from sde_ct.uncertainty.stopping_power import MATRAD, PYRADPLAN

GANTRY, EACH, DRAWS, SPREAD = (0.0, 90.0), 4, 5, 2.0  # EACH rays, the first to the centre


def patient(rng, real=True):
    """Path lengths whose draws and truth have one law, with the error common to all rays."""
    count = len(GANTRY) * EACH
    base = rng.uniform(100, 200, count)
    truth, *draws = base + rng.normal(0, SPREAD, (DRAWS + 1, 1))
    lengths = np.stack(draws)
    figures = RangeFigures(lengths.mean(axis=0), lengths, truth if real else None)
    rays = Rays(np.repeat(GANTRY, EACH), np.zeros((count, 3)), np.zeros((count, 3)))
    bounds = np.stack([lengths.min(axis=0), lengths.max(axis=0)])
    return TargetRanges(RayPlan(GANTRY, PYRADPLAN), rays, figures, bounds, "range of the 5 draws")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_new_patients_are_covered_as_stated(rng):
    fitted = fit_range_bounds([patient(rng) for _ in range(99)], towards="target", coverage=0.8)
    new = [patient(rng) for _ in range(2000)]
    inside = []
    for ranges in new:
        lower, upper = fitted.apply(ranges).bounds
        inside.append(np.mean((lower <= ranges.figures.real) & (ranges.figures.real <= upper)))
    # The share of 2000 patients scatters by 0.009, and that of the 99 fitted ones by 0.04.
    assert np.mean(inside) == pytest.approx(0.8, abs=0.1)
    verified = verified_bounds(fitted, new).verified
    assert verified["patients"] == 2000 and verified["covered"] == pytest.approx(np.mean(inside))


def test_bounds_are_stored_and_applied_by_kind_of_ray(rng):
    patients = [patient(rng) for _ in range(9)]
    patients[3].figures.real[:EACH] = np.nan  # not measured from 0°
    fitted = fit_range_bounds(patients, towards="target", coverage=0.8)
    assert fitted.centre.patients == fitted.surface.patients == 9
    assert fitted.centre.figure == "water-equivalent path length to the target's centre"
    stored = RangeBounds.from_json(json.loads(json.dumps(fitted.to_json())))
    assert stored == fitted
    new = patient(rng, real=False)
    got, figures = stored.apply(new), new.figures
    for chosen, bounds in ((new.central, fitted.centre), (~new.central, fitted.surface)):
        right = bounds.apply(figures.mean[chosen], figures.spread[chosen])
        np.testing.assert_allclose(got.bounds[:, chosen], np.stack(right))
    assert got.interval == "calibrated 80 % interval" and got.guarantee == fitted.centre.guarantee
    assert "With 9 validation patients, at least 80 %" in got.guarantee


def test_too_few_patients_give_a_sentence_and_no_bounds(rng):
    fitted = fit_range_bounds([patient(rng) for _ in range(3)], towards="body", coverage=0.9)
    new = patient(rng, real=False)
    got = RangeBounds.from_json(json.loads(json.dumps(fitted.to_json()))).apply(new)
    np.testing.assert_array_equal(got.bounds, new.bounds)
    assert got.interval == "range of the 5 draws"
    assert "path length to the body's centre) for 90 % are infinite" in got.guarantee
    assert verified_bounds(fitted, [patient(rng)]).lines() == [fitted.centre.guarantee]


def test_no_length_is_below_zero(rng):
    fitted = fit_range_bounds([patient(rng) for _ in range(9)], towards="target", coverage=0.8)
    new = patient(rng, real=False)
    near = new._replace(figures=new.figures._replace(lengths=new.figures.lengths - 150))
    assert fitted.apply(near).bounds.min() == 0


def test_no_measured_ray_is_refused(rng):
    one = patient(rng)
    one.figures.real[one.central] = np.nan
    with pytest.raises(InputError, match="measured no ray to a target's centre over its"):
        fit_range_bounds([one], towards="target", coverage=0.8)


def test_another_record_is_no_bounds(rng):
    record = fit_range_bounds([patient(rng)], towards="body", coverage=0.5).to_json()
    assert record["surface"] is not None and record["plan"]["gantry"] == [0, 90]
    assert record["plan"]["stopping_power"]["hu"] != list(MATRAD.hu)
    for change in ({"centre": {}}, {"plan": 3}, {"surface": {"unit": "mm"}}):
        with pytest.raises(ValueError, match=next(iter(change))):
            RangeBounds.from_json(record | change)
