import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.uncertainty import ambiguity
from sde_ct.uncertainty import draws as uncertainty


def _ones(shape):
    return np.ones(shape, bool)


def test_spearman_is_of_ranks_and_of_the_mask():
    spread = np.array([1.0, 2, 3, 4, 99]).reshape(5, 1, 1)
    error = np.array([1.0, -8, 27, -64, 0]).reshape(5, 1, 1)
    mask = np.array([1, 1, 1, 1, 0]).reshape(5, 1, 1)
    assert uncertainty.spearman(spread, error, mask) == pytest.approx(1)
    assert uncertainty.spearman(-spread, error, mask) == pytest.approx(-1)
    # Ranks 1..4 against 2, 1, 4, 3: 1 - 6 Σd² / (n (n² - 1)) = 1 - 24/60.
    mixed = np.array([2.0, 1, 4, 3, 0]).reshape(5, 1, 1)
    assert uncertainty.spearman(spread, mixed, mask) == pytest.approx(0.6)


def test_collapsed_spread_has_no_rank_correlation():
    error = np.arange(4.0).reshape(2, 2, 1)
    assert np.isnan(uncertainty.spearman(np.zeros((2, 2, 1)), error, _ones((2, 2, 1))))


def test_spread_skill_by_hand():
    spread = np.array([3.0, 4]).reshape(2, 1, 1)  # mean square 12.5
    error = np.array([5.0, 0]).reshape(2, 1, 1)  # mean square 12.5
    got = uncertainty.spread_skill(spread, error, _ones((2, 1, 1)), draws=4)
    assert got == pytest.approx(np.sqrt(5 / 4))


@pytest.mark.parametrize("draws", [2, 10])
def test_truth_drawn_from_the_ensemble_is_calibrated(draws):
    rng = np.random.default_rng(0)
    sigma = rng.uniform(10, 100, (40, 40, 20))
    members = rng.normal(0, sigma, (draws, *sigma.shape))
    truth = rng.normal(0, sigma)
    got = uncertainty.evaluate_draws(members, truth, _ones(sigma.shape))
    # 32000 voxels: a mean square is known to about √(2/32000) ≈ 1 %, more with M = 2.
    assert got.spread_skill == pytest.approx(1, abs=0.03)
    # The exact CRPS of N(0, σ²) against a truth of it is σ/√π in expectation, for every M: fair.
    assert got.crps == pytest.approx(np.mean(sigma) / np.sqrt(np.pi), rel=0.03)
    assert got.spearman > 0 and got.draws == draws


def test_crps_by_its_double_sum():
    rng = np.random.default_rng(1)
    draws, ct = rng.normal(0, 50, (5, 3, 2, 2)), rng.normal(0, 50, (3, 2, 2))
    m = len(draws)
    first = sum(np.abs(x - ct) for x in draws) / m
    second = sum(np.abs(x - y) for x in draws for y in draws) / (2 * m * (m - 1))
    got = uncertainty.fair_crps(draws, ct, _ones(ct.shape))
    assert got == pytest.approx((first - second).mean(), rel=1e-12)


def test_equal_draws_score_as_their_absolute_error():
    draws, ct = np.full((3, 2, 2, 1), 40.0), np.zeros((2, 2, 1))
    assert uncertainty.fair_crps(draws, ct, _ones(ct.shape)) == 40


def test_one_draw_has_no_spread():
    with pytest.raises(InputError, match="at least 2 draws"):
        uncertainty.fair_crps(np.zeros((1, 2, 2, 1)), np.zeros((2, 2, 1)), _ones((2, 2, 1)))


def test_outcomes_in_the_ambiguous_region():
    region = np.zeros((4, 4, 2), bool)
    region[1:3, 1:3, 0] = True
    draws = np.full((4, *region.shape), 5000.0)  # bright, but outside the region
    draws[:, region] = np.array([700.0, -900, -800, -1])[:, None]
    hu = ambiguity.region_hu(draws, region)
    assert hu.tolist() == [700, -900, -800, -1]
    bone, decided = ambiguity.bone_like(hu), ambiguity.decided(hu)
    assert bone.tolist() == [True, False, False, False]
    assert decided.tolist() == [True, True, True, False]  # -1 HU is half of each
    got = ambiguity.outcomes(np.tile(bone, 2), np.tile(decided, 2))
    assert got.decided == 0.75 and ambiguity.outcomes(bone).decided is None
    # Wilson by hand: n = 8, p = 1/4, z = 1.959964.
    z, n, p = 1.959964, 8, 0.25
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (got.bone_like, got.draws, got.share, got.both) == (2, 8, 0.25, True)
    assert got.low == pytest.approx(centre - half, abs=1e-6)
    assert got.high == pytest.approx(centre + half, abs=1e-6)


@pytest.mark.parametrize("bone", [True, False])
def test_one_outcome_alone_is_not_both(bone):
    assert not ambiguity.outcomes(np.full(10, bone)).both


def test_empty_or_misplaced_region_is_refused():
    draws = np.zeros((2, 3, 3, 1))
    with pytest.raises(InputError, match="region is empty"):
        ambiguity.region_hu(draws, np.zeros((3, 3, 1)))
    with pytest.raises(InputError, match="on one grid"):
        ambiguity.region_hu(draws, np.ones((3, 3, 2)))


def test_ence_by_hand():
    """Ten bins of two voxels each: spread b, root mean squared error b √(5/4) · 1.5."""
    spread = np.repeat(np.arange(1.0, 11), 2)
    error = 1.5 * np.sqrt(5 / 4) * spread
    order = np.random.default_rng(0).permutation(20)
    shaped = [v[order].reshape(5, 2, 2) for v in (spread, -error)]
    got = uncertainty.ence(*shaped, _ones((5, 2, 2)), draws=4)
    assert got.predicted == pytest.approx(np.sqrt(5 / 4) * np.arange(1, 11))
    assert got.observed == pytest.approx(1.5 * got.predicted)
    assert got.ence == pytest.approx(0.5)


@pytest.mark.parametrize("factor, expected", [(1, 0), (0.5, 1), (2, 0.5)])
def test_ence_of_a_spread_wrong_by_a_factor(factor, expected):
    """|f - 1| / f: calibrated 0, twice over-confident |0.5 - 1| / 0.5, under-confident 1 / 2."""
    rng = np.random.default_rng(3)
    sigma = rng.uniform(10, 100, (40, 40, 20))
    error = rng.normal(0, sigma * np.sqrt(1 + 1 / 10))
    got = uncertainty.ence(factor * sigma, error, _ones(sigma.shape), draws=10)
    # A bin holds 3200 voxels: a root mean square is known to 1 / √6400, and |·| adds it up.
    assert got.ence == pytest.approx(expected, abs=2 / np.sqrt(6400))


def test_ence_of_spreads_of_zero():
    zero, one = np.zeros((5, 4, 1)), np.ones((5, 4, 1))
    assert uncertainty.ence(zero, one, one, draws=2).ence == np.inf
    assert uncertainty.ence(zero, zero, one, draws=2).ence == 0
    with pytest.raises(InputError, match="holds 9 voxels"):
        uncertainty.ence(one[:3, :3], one[:3, :3], one[:3, :3], draws=2)


def test_sparsification_of_an_oracle_a_constant_and_a_fool():
    """|errors| spread evenly over [0, 1]: the lowest share 1 - f of them has the mean (1 - f)/2,
    of 1/2 over all, and the highest (1 + f)/2."""
    n = 20000
    error = ((np.arange(n) + 0.5) / n).reshape(100, 100, 2)
    taken = np.arange(20) / 20
    mask = _ones(error.shape)
    oracle = uncertainty.sparsification(10 * error, -error, mask)
    assert oracle.ause == 0 and oracle.taken == pytest.approx(taken)
    assert oracle.by_spread == pytest.approx(1 - taken, abs=1e-9)
    constant = uncertainty.sparsification(np.full_like(error, 7), error, mask)
    assert constant.by_spread == pytest.approx(np.ones(20))
    assert constant.ause == pytest.approx(0.95**2 / 2)  # the area under f
    fool = uncertainty.sparsification(1 / error, error, mask)
    assert fool.by_spread == pytest.approx(1 + taken, abs=1e-9)
    assert fool.ause == pytest.approx(0.95**2)


def test_sparsification_ranks_the_body_alone():
    rng = np.random.default_rng(4)
    error, mask = rng.normal(0, 1, (10, 10, 4)), np.zeros((10, 10, 4), bool)
    mask[2:8] = True
    got = uncertainty.sparsification(np.abs(error), error, mask)
    assert got.ause == 0
    wild = np.where(mask, np.abs(error), 1e6)
    assert uncertainty.sparsification(wild, np.where(mask, error, 0), mask).ause == 0
    assert np.isnan(uncertainty.sparsification(wild, 0 * error, mask).ause)


def test_variance_within_and_between_networks():
    rng = np.random.default_rng(6)
    shape, networks = (20, 20, 10), 6
    offsets = rng.normal(0, 15, (networks, *shape))
    members = [offset + rng.normal(0, 40, (5, *shape)) for offset in offsets]
    got = uncertainty.decompose(members)
    # Within: 4000 voxels of 6 x 4 degrees of freedom. Between: the variance of 6 means, of 225 +
    # 1600 / 5 = 545 a voxel, is known to 545 √(2 / (5 · 4000)) = 5.5.
    assert got.within.mean() == pytest.approx(1600, rel=0.02)
    assert got.between.mean() == pytest.approx(225, abs=4 * 5.5)
    alike = [draws - offset for draws, offset in zip(members, offsets, strict=True)]
    assert uncertainty.decompose(alike).between.mean() == pytest.approx(0, abs=4 * 3.2)
    for bad in (members[:1], [members[0], members[1][:4]], [members[0][..., 1:], members[1]]):
        with pytest.raises(InputError, match="at least 2 networks"):
            uncertainty.decompose(bad)
    with pytest.raises(InputError, match="at least 2 draws"):
        uncertainty.decompose([draws[:1] for draws in members])
