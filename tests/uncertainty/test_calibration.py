"""Diagnostics on ensembles whose answer is known in closed form."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from sde_ct.errors import InputError
from sde_ct.uncertainty import calibration as cal
from sde_ct.uncertainty.draws import fair_crps
from sde_ct.uncertainty.intervals import bootstrap_interval

SHAPE = (30, 30, 20)
N = 18000
MASK = np.ones(SHAPE, bool)
DRAWS = (2, 5, 10, 30, 100)


def _case(draws, *, scale=1.0, bias=0.0, seed=0, family=stats.norm, shape=SHAPE):
    """Draws from N(b σ, (k σ)²) and a truth from N(0, σ²) around a known centre; σ varies."""
    rng = np.random.default_rng(seed)
    sigma = rng.uniform(10, 60, shape)
    centre = rng.choice([-800.0, 30.0, 700.0], shape)

    def sample(*size):
        return family.rvs(size=(*size, *shape), random_state=rng)

    members = centre + sigma * (bias + scale * sample(draws))
    return members, centre + sigma * sample(), sigma


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
    got = cal.rank_histogram(members, truth, MASK)
    p = _rank_probabilities(m, **known)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert (np.abs(got.shares - p) < _binomial(p)).all() and got.voxels == N
    covered = cal.coverage(got)
    expected = [p[k : m + 1 - k].sum() for k in range(1, m // 2 + 1)]
    assert (np.abs(covered.observed - expected) < _binomial(np.array(expected))).all()
    if not known:
        assert p == pytest.approx(np.full(m + 1, 1 / (m + 1)), abs=1e-5)
        assert (np.abs(covered.observed - covered.nominal) < _binomial(covered.nominal)).all()


def test_nominal_levels_of_ten_draws():
    flat = cal.RankHistogram(np.full(11, 1 / 11), 0.0, 11)
    assert cal.coverage(flat).nominal == pytest.approx([9 / 11, 7 / 11, 5 / 11, 3 / 11, 1 / 11])
    assert cal.coverage(flat).observed == pytest.approx(cal.coverage(flat).nominal)


@pytest.mark.parametrize("m", [2, 10, 100])
@pytest.mark.parametrize("known", CASES.values(), ids=CASES)
def test_spread_skill_and_crps_are_what_they_must_be(known, m):
    members, truth, sigma = _case(m, **known, seed=1)
    k, b = known.get("scale", 1.0), known.get("bias", 0.0)
    got = cal.calibration(members, truth, MASK)
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
        members, truth = rng.normal(0, 1, (m, *SHAPE)), rng.normal(0, 1, SHAPE)
        accuracy = np.abs(members - truth).mean(axis=0)
        pairs = sum(np.abs(x - members).sum(axis=0) for x in members)
        # A voxel's score scatters by less than 1, so the mean of 18000 by 0.0075.
        assert fair_crps(members, truth, MASK) == pytest.approx(exact, abs=4 * 0.0075)
        plain = (accuracy - pairs / (2 * m**2)).mean()
        assert plain == pytest.approx(exact * (1 + 1 / m), abs=4 * 0.0075)


@pytest.mark.parametrize("m", DRAWS)
def test_heavy_tails_are_no_miscalibration(m):
    """Draws and truth from Student's t with 2.5 degrees of freedom: its kurtosis is infinite."""
    members, truth, _ = _case(m, family=stats.t(2.5), seed=3)
    got = cal.rank_histogram(members, truth, MASK)
    assert (np.abs(got.shares - 1 / (m + 1)) < _binomial(1 / (m + 1))).all()


def test_a_normal_ensemble_misses_the_tails_of_the_truth():
    rng = np.random.default_rng(4)
    t = stats.t(2.5)
    members = rng.normal(0, 1, (10, *SHAPE))
    truth = t.rvs(SHAPE, random_state=rng)
    p = _rank_probabilities(10, truth=t)
    got = cal.rank_histogram(members, truth, MASK)
    # The integral over ± 60 leaves out 1e-5 of this t.
    assert (np.abs(got.shares - p) < _binomial(p)).all()
    assert got.shares[0] > 1.3 / 11 and got.shares[10] > 1.3 / 11


def test_collapsed_draws():
    _, truth, _ = _case(2, seed=6)
    members = np.repeat(np.full((1, *SHAPE), 30.0), 10, axis=0)
    got = cal.calibration(members, truth, MASK)
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
    members = np.maximum(np.rint(rng.normal(-999, 1, (10, *SHAPE))), -1000)
    truth = np.maximum(np.rint(rng.normal(-999, 1, SHAPE)), -1000)
    got = cal.rank_histogram(members, truth, MASK)
    assert (np.abs(got.shares - 1 / 11) < _binomial(1 / 11)).all()
    inside = (truth >= members.min(axis=0)) & (truth <= members.max(axis=0))
    assert inside.mean() > 9 / 11 + 0.05
    assert cal.coverage(got).observed[0] == pytest.approx(9 / 11, abs=_binomial(9 / 11))


def test_ties_by_hand():
    members = np.array([[0.0, 5.0], [0.0, 7.0]])[..., None, None]
    truth = np.array([0.0, 6.0])[:, None, None]
    got = cal.rank_histogram(members, truth, np.ones((2, 1, 1)))
    # The first voxel equals both draws: a third to each rank; the second lies between.
    assert got.shares == pytest.approx([1 / 6, 1 / 6 + 1 / 2, 1 / 6])
    assert got.deviation == pytest.approx(1 / 6 + 1 / 3 + 1 / 6)


def test_tissues_are_those_of_the_real_ct():
    members, truth, _ = _case(10, seed=8)
    mask = MASK.copy()
    mask[:5] = False
    got = cal.by_tissue(members, truth, mask)
    assert list(got) == ["all", "air", "soft", "bone"]
    for name, part in (("air", truth < -200), ("bone", truth > 200), ("all", mask)):
        assert got[name].ranks.voxels == (part & mask).sum()
        assert got[name].crps == pytest.approx(fair_crps(members, truth, part & mask))
    assert list(cal.by_tissue(members, np.where(truth > 200, 0.0, truth), mask)) == [
        *("all", "air", "soft")
    ]


def test_calibrated_draws_look_too_soft_where_the_ct_came_out_dense():
    rng = np.random.default_rng(11)
    got = cal.by_tissue(rng.normal(150, 150, (10, *SHAPE)), rng.normal(150, 150, SHAPE), MASK)
    assert (np.abs(got["all"].ranks.shares - 1 / 11) < _binomial(1 / 11)).all()
    # Bone is above 200 HU, the 63rd percentile: no truth of it is below the median draw but by
    # the draws' own chance.
    assert got["bone"].ranks.shares[:5].sum() < 0.1
    assert got["bone"].ranks.shares[6:].sum() > 0.8


def test_warnings_of_a_spread():
    _, truth, sigma = _case(2, seed=12)
    rng = np.random.default_rng(13)
    centre = truth + sigma * rng.normal(0, 1, SHAPE)
    for k, words in ((0.3, "is 31% of their error"), (1.0, None)):
        draws = centre + k * sigma * rng.normal(0, 1, (10, *SHAPE))
        # √(1.1 k² / (1 + k² / 10)) = 0.313 and 1.
        found = cal.spread_warning(draws, MASK, truth)
        assert found is None if words is None else words in found
        assert cal.spread_warning(draws, MASK) is None
    alike = centre + 0.5 * rng.normal(0, 1, (10, *SHAPE))
    for known in (None, truth):
        assert "agree within 0.5 HU" in cal.spread_warning(alike, MASK, known)


def test_figures_over_patients():
    """Three patients of one sampler, of whom the last has no bone and the second a collapsed
    spread, whose ENCE is infinite and counts for nothing."""
    cases = [_case(10, seed=20 + i, shape=(10, 10, 10)) for i in range(3)]
    draws, truths = [case[0] for case in cases], [case[1] for case in cases]
    draws[1] = np.repeat(draws[1].mean(axis=0, keepdims=True), 10, axis=0)
    truths[2] = np.minimum(truths[2], 100)
    mask = np.ones((10, 10, 10), bool)
    judged = [cal.by_tissue(x, y, mask) for x, y in zip(draws, truths, strict=True)]
    got = cal.over_patients(judged)
    assert [got[tissue]["crps"].patients for tissue in ("all", "bone")] == [3, 2]
    assert got["all"]["ence"].patients == 2
    values = [one["all"].crps for one in judged]
    assert got["all"]["crps"].mean == pytest.approx(np.mean(values))
    assert got["all"]["crps"].interval == bootstrap_interval(values)
    assert got["bone"]["range_coverage"].mean == pytest.approx(
        np.mean([one["bone"].coverage.observed[0] for one in judged[:2]])
    )


def test_what_cannot_be_judged():
    draws, ct, _ = _case(10, seed=30, shape=(6, 6, 6))
    mask = np.ones(ct.shape, bool)
    with pytest.raises(InputError, match="at least 2 draws"):
        cal.rank_histogram(draws[:1], ct, mask)
    with pytest.raises(InputError, match="mask is empty"):
        cal.by_tissue(draws, ct, ~mask)
    with pytest.raises(InputError, match="draw 3 holds NaN"):
        cal.calibration(np.where(np.arange(10)[:, None, None, None] == 3, np.nan, draws), ct, mask)
