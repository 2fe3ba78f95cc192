"""Mean HU and histograms of structures whose values are known."""

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty.structures import LEVELS, structure_mean, volume_histogram


def _line(*values):
    return np.array(values, np.float32).reshape(-1, 1, 1)


# Two draws of three voxels; the last one lies outside the structure and is not finite.
DRAWS = np.stack([_line(10, 30, np.nan), _line(20, 60, np.nan)])
MASK = _line(1, 0.5, 0)
CT = _line(0, 60, np.inf)


def test_a_mean_by_hand():
    got = structure_mean(DRAWS, MASK, CT)
    # (10 + 15) / 1.5, (20 + 30) / 1.5 and (0 + 30) / 1.5.
    assert got.draws == pytest.approx([50 / 3, 100 / 3])
    assert (got.mean, got.ct, got.error) == pytest.approx((25, 20, 5))
    assert got.spread == pytest.approx(50 / 3 / np.sqrt(2))
    assert got.voxels == 1.5
    binary = structure_mean(DRAWS, MASK > 0)
    assert binary.draws == pytest.approx([20, 40])
    assert binary.ct is None and binary.error is None


def test_the_spread_of_a_mean_is_that_of_draws_and_not_of_voxels():
    """Draws that are shifted as a whole vary in their mean as in each voxel; draws that vary in
    every voxel by itself vary in the mean of n voxels by 1/√n of that."""
    rng = np.random.default_rng(0)
    m, shape, sigma = 400, (5, 4, 5), 30.0
    whole = np.broadcast_to(sigma * rng.normal(size=(m, 1, 1, 1)), (m, *shape))
    apart = sigma * rng.normal(size=(m, *shape))
    mask = np.ones(shape)
    # The standard deviation of 400 draws is known to 1/√800, or 3.5 %; four of these errors.
    assert structure_mean(whole, mask).spread == pytest.approx(sigma, rel=0.15)
    assert structure_mean(apart, mask).spread == pytest.approx(sigma / 10, rel=0.15)


def test_a_histogram_by_hand():
    got = volume_histogram(DRAWS, MASK, CT, levels=np.array([0, 15, 20, 60, 61]))
    whole, third = 1.0, 0.5 / 1.5
    # A level counts the voxels that have exactly its HU.
    assert got.draws == pytest.approx(
        np.array([[whole, third, third, 0, 0], [whole, whole, whole, third, 0]])
    )
    assert got.ct == pytest.approx([whole, third, third, third, 0])
    assert got.mean == pytest.approx([1, (whole + third) / 2, (whole + third) / 2, third / 2, 0])
    low, high = got.band
    assert low == pytest.approx(got.draws[0]) and high == pytest.approx(got.draws[1])


def test_a_histogram_sums_to_the_mean():
    """The area under the shares above a level is the mean of what lies above it (all of it here)"""
    rng = np.random.default_rng(1)
    draws, mask = rng.uniform(-900, 1900, (3, 6, 5, 4)), rng.uniform(0, 1, (6, 5, 4))
    got = volume_histogram(draws, mask)
    area = np.trapezoid(got.draws, LEVELS, axis=1)
    # The trapezia are wrong by at most half a step, 5 HU.
    assert LEVELS[0] + area == pytest.approx(structure_mean(draws, mask).draws, abs=5)


def test_the_band_of_calibrated_draws_covers_as_it_says():
    rng = np.random.default_rng(2)
    hits, mask, patients = 0, np.ones((10, 10, 2)), 1500
    for _ in range(patients):
        shift = rng.normal(0, 30, (5, 1, 1, 1))  # of each draw and of the CT
        volumes = shift + rng.normal(0, 60, (5, *mask.shape))
        got = volume_histogram(volumes[:4], mask, volumes[4], levels=np.array([-1e4, 20]))
        (whole, low), (_, high) = got.band
        assert whole == 1
        hits += low <= got.ct[1] <= high
    # (4 - 1)/(4 + 1). Shares are multiples of 1/200 that vary by .2, so few are equal, which makes
    # the band cover 2 to 3 % more.
    error = np.sqrt(0.6 * 0.4 / patients)
    assert 0.6 - 4 * error < hits / patients < 0.63 + 4 * error


BAD = {
    "no draw": (DRAWS[:0], MASK, None, "There is no draw"),
    "another grid": (DRAWS, MASK[:2], None, r"draw 0 has shape \(3, 1, 1\) .* mask \(2, 1, 1\)"),
    "another grid of the CT": (DRAWS, MASK, CT[:2], r"reference CT has shape \(2, 1, 1\)"),
    "empty": (DRAWS, 0 * MASK, None, "mask is empty"),
    "labels": (DRAWS, 3 * MASK, None, "values outside 0 to 1"),
    "NaN in the mask": (DRAWS, np.nan * MASK, None, "values outside 0 to 1"),
    "NaN in a draw": (DRAWS, np.ones_like(MASK), None, "draw 0 holds NaN"),
    "infinite CT": (np.nan_to_num(DRAWS), np.ones_like(MASK), CT, "reference CT holds NaN or inf"),
}


@pytest.mark.parametrize("draws, mask, ct, words", BAD.values(), ids=BAD)
def test_refusals(draws, mask, ct, words):
    for measure in (structure_mean, volume_histogram):
        with pytest.raises(InputError, match=words):
            measure(draws, mask, ct)


def test_one_draw_has_values_and_no_spread():
    mean, histogram = structure_mean(DRAWS[:1], MASK), volume_histogram(DRAWS[:1], MASK)
    assert mean.mean == pytest.approx(50 / 3) and histogram.mean[0] == 1
    with pytest.raises(InputError, match="at least 2 draws"):
        mean.spread  # noqa: B018
    with pytest.raises(InputError, match="at least 2 draws"):
        histogram.band  # noqa: B018


@pytest.mark.parametrize("levels", [[], [np.nan], [2, 1], [1, 1], [[1]]])
def test_levels_that_make_no_histogram(levels):
    with pytest.raises(InputError, match="levels of a histogram"):
        volume_histogram(DRAWS, MASK, levels=np.array(levels))
