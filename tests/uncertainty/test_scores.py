"""Diagnostics on ensembles whose answer is known in closed form."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from sde_ct.errors import InputError
from sde_ct.uncertainty import scores
from sde_ct.uncertainty.judgement import judge

N = 18000
DRAWS = (2, 5, 10, 30, 100)


def _case(draws, *, scale=1.0, bias=0.0, seed=0, family=stats.norm):
    """Draws from N(b σ, (k σ)²) and a truth from N(0, σ²) around a known centre; σ varies."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(10, 60, N)
    centre = rng.choice([-800.0, 30.0, 700.0], N)

    def sample(*size):
        return family.rvs(size=(*size, N), random_state=rng)

    members = centre + sigma * (bias + scale * sample(draws))
    return members, centre + sigma * sample(), sigma


def _all(members, truth):
    """Every score, by way of volumes."""
    mask = np.ones((N, 1, 1), bool)
    return judge(members[..., None, None], truth[..., None, None], mask).by_tissue["all"]


def _rank_probabilities(m, scale=1.0, bias=0.0, draw=stats.norm, truth=stats.norm):
    """P(rank = r) = E[C(M, r) F(y)^r (1 - F(y))^(M - r)] over the truth y."""
    y = np.linspace(-60, 60, 12001)
    z = (y - bias) / scale
    r = np.arange(m + 1)[:, None]
    pmf = special.comb(m, r) * draw.cdf(z) ** r * draw.sf(z) ** (m - r)
    return integrate.simpson(pmf * truth.pdf(y), x=y)


def _binomial(p, sigmas=4.5):
    """Tolerance of a share of N independent voxels; 4.5 errors for up to 101 shares at once."""
    return sigmas * np.sqrt(p * (1 - p) / N) + 1e-4


CASES = {
    "calibrated": {},
    "over-confident x2": {"scale": 0.5},
    "under-confident x2": {"scale": 2.0},
    "biased": {"bias": 1.0},
}


@pytest.mark.parametrize("m", DRAWS)
@pytest.mark.parametrize("known", CASES.values(), ids=CASES)
def test_ranks_and_coverage_are_what_they_must_be(known, m):
    members, truth, _ = _case(m, **known)
    got = scores.rank_histogram(members, truth)
    p = _rank_probabilities(m, **known)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert (np.abs(got.shares - p) < _binomial(p)).all() and got.voxels == N
    covered = scores.coverage(got)
    expected = [p[k : m + 1 - k].sum() for k in range(1, m // 2 + 1)]
    assert (np.abs(covered.observed - expected) < _binomial(np.array(expected))).all()
    if not known:
        assert p == pytest.approx(np.full(m + 1, 1 / (m + 1)), abs=1e-5)
        assert (np.abs(covered.observed - covered.nominal) < _binomial(covered.nominal)).all()


def test_nominal_levels_of_ten_draws():
    flat = scores.RankHistogram(np.full(11, 1 / 11), 0.0, 11)
    assert scores.coverage(flat).nominal == pytest.approx([9 / 11, 7 / 11, 5 / 11, 3 / 11, 1 / 11])
    assert scores.coverage(flat).observed == pytest.approx(scores.coverage(flat).nominal)


@pytest.mark.parametrize("m", [2, 10, 100])
@pytest.mark.parametrize("known", CASES.values(), ids=CASES)
def test_spread_skill_and_crps_are_what_they_must_be(known, m):
    members, truth, sigma = _case(m, **known, seed=1)
    k, b = known.get("scale", 1.0), known.get("bias", 0.0)
    got = _all(members, truth)
    # Mean square error of the mean: σ² (1 + k²/M + b²).
    expected = np.sqrt((m + 1) / m * k**2 / (1 + k**2 / m + b**2))
    # Mean squares of 18000 voxels, heavier by their unequal σ: each known to 1.5 % or so.
    assert got.spread_skill == pytest.approx(expected, rel=0.03)
    # Fair: E|x - y| - E|x - x'| / 2 with x - y ~ N(b, 1 + k²) and x - x' ~ N(0, 2 k²), any M.
    first = stats.foldnorm.mean(b / np.sqrt(1 + k**2), scale=np.sqrt(1 + k**2))
    assert got.crps == pytest.approx((first - k / np.sqrt(np.pi)) * sigma.mean(), rel=0.03)


def test_fair_crps_is_unbiased_in_the_number_of_draws():
    """The plain estimator, which divides by M², is not: it is E|x - x'| / (2 M) = 1 / (M √π) too
    high, which ranks samplers by how often they were drawn."""
    rng = np.random.default_rng(2)
    exact = 1 / np.sqrt(np.pi)
    for m in (2, 3, 5, 10, 40):
        members, truth = rng.normal(0, 1, (m, N)), rng.normal(0, 1, N)
        accuracy = np.abs(members - truth).mean(axis=0)
        pairs = sum(np.abs(x - members).sum(axis=0) for x in members)
        # A voxel's score scatters by less than 1, so the mean of 18000 by 0.0075.
        assert scores.fair_crps(members, truth) == pytest.approx(exact, abs=4 * 0.0075)
        plain = (accuracy - pairs / (2 * m**2)).mean()
        assert plain == pytest.approx(exact * (1 + 1 / m), abs=4 * 0.0075)


@pytest.mark.parametrize("m", DRAWS)
def test_heavy_tails_are_no_miscalibration(m):
    """Draws and truth from Student's t with 2.5 degrees of freedom: its kurtosis is infinite."""
    members, truth, _ = _case(m, family=stats.t(2.5), seed=3)
    got = scores.rank_histogram(members, truth)
    assert (np.abs(got.shares - 1 / (m + 1)) < _binomial(1 / (m + 1))).all()


def test_a_normal_ensemble_misses_the_tails_of_the_truth():
    rng = np.random.default_rng(4)
    t = stats.t(2.5)
    members = rng.normal(0, 1, (10, N))
    truth = t.rvs(N, random_state=rng)
    p = _rank_probabilities(10, truth=t)
    got = scores.rank_histogram(members, truth)
    # The integral over ± 60 leaves out 1e-5 of this t.
    assert (np.abs(got.shares - p) < _binomial(p)).all()
    assert got.shares[0] > 1.3 / 11 and got.shares[10] > 1.3 / 11


def test_collapsed_draws():
    _, truth, _ = _case(2, seed=6)
    members = np.repeat(np.full((1, N), 30.0), 10, axis=0)
    got = _all(members, truth)
    assert (got.coverage.observed == 0).all() and got.spread_skill == 0
    assert got.ranks.shares[1:-1].sum() == 0
    assert got.ranks.deviation == pytest.approx(2 * 9 / 11)
    assert got.crps == pytest.approx(np.abs(truth - 30).mean())
    assert got.ence == np.inf
    assert got.sparsification.by_spread == pytest.approx(np.ones(20))
    assert got.ause > 0.1


def test_rounding_to_whole_hu_changes_no_rank():
    """Air is stored as -1000 in CT and draws alike: shared ranks stay flat and cover as they say,
    where counting ties as inside would cover too much."""
    rng = np.random.default_rng(7)
    members = np.maximum(np.rint(rng.normal(-999, 1, (10, N))), -1000)
    truth = np.maximum(np.rint(rng.normal(-999, 1, N)), -1000)
    got = scores.rank_histogram(members, truth)
    assert (np.abs(got.shares - 1 / 11) < _binomial(1 / 11)).all()
    inside = (truth >= members.min(axis=0)) & (truth <= members.max(axis=0))
    assert inside.mean() > 9 / 11 + 0.05
    assert scores.coverage(got).observed[0] == pytest.approx(9 / 11, abs=_binomial(9 / 11))


def test_ties_by_hand():
    members, truth = np.array([[0.0, 5.0], [0.0, 7.0]]), np.array([0.0, 6.0])
    got = scores.rank_histogram(members, truth)
    # The first voxel equals both draws: a third to each rank; the second lies between.
    assert got.shares == pytest.approx([1 / 6, 1 / 6 + 1 / 2, 1 / 6])
    assert got.deviation == pytest.approx(1 / 6 + 1 / 3 + 1 / 6)


def test_spearman_is_of_ranks():
    spread, error = np.array([1.0, 2, 3, 4]), np.array([1.0, -8, 27, -64])
    assert scores.spearman(spread, error) == pytest.approx(1)
    assert scores.spearman(-spread, error) == pytest.approx(-1)
    # Ranks 1..4 against 2, 1, 4, 3: 1 - 6 Σd² / (n (n² - 1)) = 1 - 24/60.
    mixed = np.array([2.0, 1, 4, 3])
    assert scores.spearman(spread, mixed) == pytest.approx(0.6)


def test_collapsed_spread_has_no_rank_correlation():
    assert np.isnan(scores.spearman(np.zeros(4), np.arange(4.0)))


def test_spread_skill_by_hand():
    spread = np.array([3.0, 4])  # mean square 12.5
    error = np.array([5.0, 0])  # mean square 12.5
    got = scores.spread_skill(spread, error, draws=4)
    assert got == pytest.approx(np.sqrt(5 / 4))


def test_crps_by_its_double_sum():
    rng = np.random.default_rng(1)
    draws, ct = rng.normal(0, 50, (5, 12)), rng.normal(0, 50, 12)
    m = len(draws)
    first = sum(np.abs(x - ct) for x in draws) / m
    second = sum(np.abs(x - y) for x in draws for y in draws) / (2 * m * (m - 1))
    got = scores.fair_crps(draws, ct)
    assert got == pytest.approx((first - second).mean(), rel=1e-12)


def test_equal_draws_score_as_their_absolute_error():
    draws, ct = np.full((3, 4), 40.0), np.zeros(4)
    assert scores.fair_crps(draws, ct) == 40


def test_one_draw_has_no_spread():
    with pytest.raises(InputError, match="at least 2 draws"):
        scores.fair_crps(np.zeros((1, 4)), np.zeros(4))


def test_ence_by_hand():
    """Ten bins of two voxels each: spread b, root mean squared error b √(5/4) · 1.5."""
    spread = np.repeat(np.arange(1.0, 11), 2)
    error = 1.5 * np.sqrt(5 / 4) * spread
    order = np.random.default_rng(0).permutation(20)
    got = scores.spread_bins(spread[order], -error[order], draws=4)
    assert got.predicted == pytest.approx(np.sqrt(5 / 4) * np.arange(1, 11))
    assert got.observed == pytest.approx(1.5 * got.predicted)
    assert got.ence == pytest.approx(0.5)


@pytest.mark.parametrize("factor, expected", [(1, 0), (0.5, 1), (2, 0.5)])
def test_ence_of_a_spread_wrong_by_a_factor(factor, expected):
    """|f - 1| / f: calibrated 0, twice over-confident |0.5 - 1| / 0.5, under-confident 1 / 2."""
    rng = np.random.default_rng(3)
    sigma = rng.uniform(10, 100, 32_000)
    error = rng.normal(0, sigma * np.sqrt(1 + 1 / 10))
    got = scores.spread_bins(factor * sigma, error, draws=10)
    # A bin holds 3200 voxels: a root mean square is known to 1 / √6400, and |·| adds it up.
    assert got.ence == pytest.approx(expected, abs=2 / np.sqrt(6400))


def test_ence_of_spreads_of_zero():
    zero, one = np.zeros(20), np.ones(20)
    assert scores.spread_bins(zero, one, draws=2).ence == np.inf
    assert scores.spread_bins(zero, zero, draws=2).ence == 0
    with pytest.raises(InputError, match="holds 9 voxels"):
        scores.spread_bins(one[:9], one[:9], draws=2)


def test_sparsification_of_an_oracle_a_constant_and_a_fool():
    """|errors| spread evenly over [0, 1]: the lowest share 1 - f of them has the mean (1 - f)/2,
    of 1/2 over all, and the highest (1 + f)/2."""
    n = 20000
    error = (np.arange(n) + 0.5) / n
    taken = np.arange(20) / 20
    oracle = scores.sparsification(10 * error, -error)
    assert oracle.ause == 0 and oracle.taken == pytest.approx(taken)
    assert oracle.by_spread == pytest.approx(1 - taken, abs=1e-9)
    constant = scores.sparsification(np.full_like(error, 7), error)
    assert constant.by_spread == pytest.approx(np.ones(20))
    assert constant.ause == pytest.approx(0.95**2 / 2)  # the area under f
    fool = scores.sparsification(1 / error, error)
    assert fool.by_spread == pytest.approx(1 + taken, abs=1e-9)
    assert fool.ause == pytest.approx(0.95**2)


def test_sparsification_without_an_error_is_not_defined():
    assert np.isnan(scores.sparsification(np.arange(40.0), np.zeros(40)).ause)
