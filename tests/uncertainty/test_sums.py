"""Scores of sums over voxels, on draws whose joint law is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics
from sde_ct.uncertainty import sums
from sde_ct.uncertainty.scores import fair_crps


def _gaussian(shape, m=10, seed=0, sigma=40.0):
    """M draws and a CT of one law, N(centre, σ²) in every voxel by itself."""
    rng = np.random.default_rng(seed)
    centre = rng.choice([-800.0, 30.0, 700.0], shape)
    volumes = centre + sigma * rng.normal(size=(m + 1, *shape))
    return volumes[1:], volumes[0], np.ones(shape, bool)


# Spread over error of lines


@pytest.mark.parametrize("axis", range(3))
def test_calibrated_draws_have_the_right_spread_along_every_axis(axis):
    draws, ct, mask = _gaussian((30, 30, 30))
    # 900 independent lines: a root mean square error is known to 1/√1800, 2.4 %; four of these.
    assert sums.line_spread_skill(draws, ct, mask, axis) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("m", [2, 10])
def test_slices_drawn_apart_are_too_sure_of_what_is_one_along_z(m):
    """A truth that is constant along z, σ c(x, y), and draws with σ e(x, y, z) of their own.

    The mean of n slices has the variance σ²/n in a draw, and the mean of M draws differs from the
    truth by σ² (1 + 1/(n M)), so the score is √((M+1)/M · 1/n / (1 + 1/(n M))) = √((M+1)/(M n + 1))
    along z. Along x the lines are right, since neither is alike there.
    """
    rng, n, sigma = np.random.default_rng(3), 16, 50.0
    shape = (8, 500, n)
    ct = np.broadcast_to(sigma * rng.normal(size=(*shape[:2], 1)), shape)
    draws, mask = sigma * rng.normal(size=(m, *shape)), np.ones(shape, bool)
    # 4000 independent lines of the truth along z: 1.1 % each for spread and error.
    along_z = sums.line_spread_skill(draws, ct, mask, 2)
    assert along_z == pytest.approx(np.sqrt((m + 1) / (m * n + 1)), rel=0.06)
    # 500 along x, because those of all slices are alike: 3.2 %.
    assert sums.line_spread_skill(draws, ct, mask, 0) == pytest.approx(1, abs=0.13)
    # Draws that are one along z, as the truth is, are right.
    right = np.broadcast_to(sigma * rng.normal(size=(m, *shape[:2], 1)), (m, *shape))
    assert sums.line_spread_skill(right, ct, mask, 2) == pytest.approx(1, abs=0.06)


def test_lines_by_hand():
    """Lines along z of 4, 2 and 1 voxels of the body: the last is shorter than half of the first.
    Voxels outside the body count for nothing, even if they are not finite."""
    mask = np.zeros((3, 1, 4), bool)
    mask[0], mask[1, 0, 1:3], mask[2, 0, 0] = True, True, True
    first = np.where(mask, [[[4.0, 0, 0, 0]], [[0, 2, 4, 0]], [[900, 0, 0, 0]]], np.nan)
    second = np.where(mask, 3.0, np.nan)
    ct = np.where(mask, 0.0, np.inf)
    # Means of the lines: (1, 3) and (3, 3), so variances 2 and 0, errors 2 and 3.
    expected = np.sqrt(3 / 2 * 1 / ((4 + 9) / 2))
    got = sums.line_spread_skill(np.stack([first, second]), ct, mask, 2)
    assert got == pytest.approx(expected)


# Change from slice to slice


def test_slice_change_by_hand():
    ct = np.array([0.0, 100, 50, 0]).reshape(1, 1, 4)
    mask = np.array([1, 1, 1, 0], bool).reshape(1, 1, 4)
    draws = np.array([[0.0, 300, 0, 700], [7, 7, 7, -900]]).reshape(2, 1, 1, 4)
    assert sums.slice_change(draws, ct, mask) == (600 / 150 + 0) / 2
    assert sums.slice_change(draws[:1], ct, mask) == metrics.through_plane(ct, draws[0], mask) == 4
    assert sums.slice_change(ct[None], ct, mask) == 1
    assert np.isnan(sums.slice_change(draws, np.zeros_like(ct), mask))


def test_slices_drawn_apart_flicker():
    """The change of two voxels correlated by ρ is 2 σ √(1 - ρ) / √π on average, so slices drawn
    apart change 1/√(1 - ρ) as much as those of a CT with a correlation of ρ."""
    rng, rho, shape = np.random.default_rng(4), 0.75, (40, 40, 12)
    ct = rng.normal(size=shape)
    for z in range(1, shape[2]):
        ct[..., z] = rho * ct[..., z - 1] + np.sqrt(1 - rho**2) * ct[..., z]
    draws = rng.normal(size=(4, *shape))
    # 17600 changes, a little alike: each has a relative deviation of 76 %, so 0.6 % or so; four.
    got = sums.slice_change(40 * draws, 40 * ct, np.ones(shape, bool))
    assert got == pytest.approx(2, rel=0.03)


# Energy score


def test_energy_score_by_hand():
    """Two voxels, two draws: distances 5 and 13 to the CT, and √(2² + 16²) between the draws."""
    draws, ct = np.array([[3.0, 4], [5, -12]]), np.zeros(2)
    expected = ((5 + 13) / 2 - np.hypot(2, 16) / 2) / np.sqrt(2)
    assert sums.energy_score(draws, ct) == pytest.approx(expected)


def test_energy_score_of_one_voxel_is_the_fair_crps_and_of_equal_draws_the_root_mean_square():
    rng = np.random.default_rng(5)
    draws, ct = rng.normal(0, 50, (6, 1)), rng.normal(0, 50, 1)
    assert sums.energy_score(draws, ct) == pytest.approx(fair_crps(draws, ct))
    equal, ct = np.tile(rng.normal(size=40), (3, 1)), rng.normal(size=40)
    assert sums.energy_score(equal, ct) == pytest.approx(np.sqrt(np.mean((equal[0] - ct) ** 2)))


@pytest.mark.parametrize("m", [2, 5, 20])
def test_energy_score_is_unbiased_in_the_number_of_draws(m):
    """For draws and a CT of N(0, σ² I) in n voxels the score is half of E‖x - x'‖ / √n, where
    ‖x - x'‖ / (√2 σ) has the χ distribution of mean √2 Γ((n+1)/2) / Γ(n/2)."""
    rng, n, sigma = np.random.default_rng(m), 6, 30.0
    exact = sigma * special.poch(n / 2, 0.5) / np.sqrt(n)
    got = [
        sums.energy_score(*np.split(sigma * rng.normal(size=(m + 1, n)), [m])) for _ in range(1500)
    ]
    assert np.mean(got) == pytest.approx(exact, abs=4 * np.std(got) / np.sqrt(len(got)))


SIZES = st.floats(-1, 1).filter(lambda x: abs(x) > 0.3)


@given(shift=SIZES, log_scale=SIZES, correlation=st.floats(0.4, 0.9))
@settings(max_examples=15, deadline=None)
def test_energy_score_is_lowest_for_the_true_law(shift, log_scale, correlation):
    """Against draws that are shifted, too wide or too narrow, or correlated where the truth is
    not. The same random numbers serve both, and so the mean difference of 300 patients, with its
    standard error, is clear: it must not lie four errors below 0."""
    rng, n = np.random.default_rng(6), 8
    for wrong in (
        lambda x: x + shift,
        lambda x: x * np.exp(log_scale),
        lambda x: np.sqrt(correlation) * x[:, :1] + np.sqrt(1 - correlation) * x,
    ):
        differences = []
        for _ in range(300):
            ct, draws = rng.normal(size=n), rng.normal(size=(6, n))
            scores = sums.energy_score(wrong(draws), ct), sums.energy_score(draws, ct)
            differences.append(scores[0] - scores[1])
        assert np.mean(differences) > -4 * np.std(differences) / np.sqrt(300)


# Variogram score


def test_variogram_score_by_hand():
    """Differences of 4 and 16 in the draws and of 9 in the CT: (3 - 3)² - 2/2."""
    draws, ct = np.array([[0.0, 4], [-6, 10]]), np.array([1.0, 10])
    one = np.array([[0], [1]])
    assert sums.variogram_score(draws, ct, one) == pytest.approx(-1)
    # A shift of all voxels changes nothing; and (3 - √25)² = 4.
    assert sums.variogram_score(draws + 70, ct, one) == pytest.approx(-1)
    assert sums.variogram_score(draws, np.array([0, 25]), one) == pytest.approx(4 - 1)


@pytest.mark.parametrize("m", [2, 5, 20])
def test_variogram_score_is_unbiased_in_the_number_of_draws(m):
    """For draws and a CT of one law the score is the variance of |y_a - y_b|^½: with a difference
    of N(0, 2 σ²), E|y| - (E|y|^½)² = √2 σ (√2 Γ(1) - √2^½² Γ(3/4)² / √π) / √π."""
    rng, sigma, n = np.random.default_rng(m), 30.0, 4000
    pairs = np.arange(2 * n).reshape(2, n)
    draws, ct = sigma * rng.normal(size=(m, 2 * n)), sigma * rng.normal(size=2 * n)
    # Of a normal variable of deviation s: E|y|^p = s^p 2^(p/2) Γ((p+1)/2) / √π.
    s = np.sqrt(2) * sigma
    exact = s * np.sqrt(2 / np.pi) - s * np.sqrt(2) * special.gamma(0.75) ** 2 / np.pi
    # The score of a pair scatters by about twice its mean: 4000 pairs give 3 %; four of these.
    assert sums.variogram_score(draws, ct, pairs) == pytest.approx(exact, rel=0.12)


def test_joint_scores_prefer_draws_that_are_one_along_z():
    """Each voxel has the same law in both kinds of draws, and the CT of each of 40 patients is one
    along z. Only along z do the pairs of the variogram score differ, in a third of its pairs: there
    it is (E|x|^½ - |y|^½)² higher, with deviations of √2 50 in x and √2 5 in y."""
    rng, shape, m = np.random.default_rng(7), (3, 3, 12), 8
    scores = []
    for _ in range(40):
        columns = 50 * rng.normal(size=(m + 1, *shape[:2], 1))
        noise = 5 * rng.normal(size=(m + 1, *shape))
        ct, right = (columns + noise)[0], (columns + noise)[1:]
        apart = 50 * rng.normal(size=(m, *shape)) + noise[1:]
        mask = np.ones(shape, bool)
        scores.append([sums.judge_sums(draws, ct, mask) for draws in (right, apart)])
    right, apart = (np.array(each) for each in np.swapaxes(scores, 0, 1))
    names = sums.Sums._fields
    variogram, energy = (
        np.mean(apart - right, axis=0)[names.index(name)] for name in ("variogram", "energy")
    )
    # E|x|^½ = .822 s^½ for a deviation s, so 22 a pair along z. Of the pairs along x and y, which
    # differ by noise alone, more leave the small volume than along z, so more than a third count.
    assert variogram > (0.822 * (5000**0.25 - 50**0.25)) ** 2 / 3
    assert energy > 0
    along, change = (names.index(name) for name in ("along_z", "slice_change"))
    # Nine lines: the median of √(9/χ²) is 1.04. A patient's score scatters by 1/√18, their median
    # by 1.25/√40 of that, or 5 %; three of these.
    assert np.median(right[:, along]) == pytest.approx(1.04, abs=0.15)
    assert np.median(apart[:, along]) < 0.5
    assert np.median(right[:, change]) == pytest.approx(1, abs=0.05)
    assert np.median(apart[:, change]) > 5


def test_pairs_are_close_inside_the_mask_and_the_same_each_time():
    mask = np.zeros((9, 8, 7), bool)
    mask[2:8, 1:, :3] = True
    mask[0, 0, 6] = True  # no other voxel lies along an axis
    pairs = sums.voxel_pairs(mask, pairs=3000, reach=2)
    where = np.argwhere(mask)
    first, second = where[pairs]
    apart = second - first
    assert ((apart > 0).sum(axis=1) == 1).all() and set(apart.sum(axis=1)) == {1, 2}
    # Along each axis a pair stays inside for 6, 7 and 3 voxels with (1 - 1.5/n).
    along = (apart > 0).mean(axis=0)
    inside = 1 - 1.5 / np.array([6, 7, 3])
    # Shares of 2000 pairs are known to 1.1 %; four of these.
    assert along == pytest.approx(inside / inside.sum(), abs=0.045)
    lonely = np.flatnonzero((where == [0, 0, 6]).all(axis=1))
    assert not np.isin(pairs, lonely).any()
    assert len(np.unique(pairs)) == mask.sum() - 1  # all others take part
    assert (sums.voxel_pairs(mask, pairs=3000, reach=2) == pairs).all()
    other = sums.voxel_pairs(mask, pairs=3000, reach=2, seed=1)
    assert not (other[:, :50] == pairs[:, :50]).all()


# All of them


@pytest.mark.parametrize("m, n", [(2, 3), (7, 12)])
def test_scores_against_scoringrules(m, n):
    rules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(8)
    draws, ct = rng.normal(0, 50, (m, n)), rng.normal(0, 50, n)
    energy = rules.es_ensemble(ct, draws, estimator="fair", backend="numpy")
    assert sums.energy_score(draws, ct) * np.sqrt(n) == pytest.approx(energy)
    # It sums over all ordered pairs, of which those of a voxel with itself are 0.
    every = np.stack(np.meshgrid(np.arange(n), np.arange(n))).reshape(2, -1)
    variogram = rules.vs_ensemble(ct, draws, p=0.5, estimator="fair", backend="numpy")
    assert sums.variogram_score(draws, ct, every) * n**2 == pytest.approx(variogram)


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_draws_changes_nothing(order):
    draws, ct, mask = _gaussian((6, 5, 4), m=5, seed=9)
    expected = sums.judge_sums(draws, ct, mask)
    assert sums.judge_sums(draws[order], ct, mask) == pytest.approx(expected)


def test_a_patient_is_judged_within_the_mask():
    draws, ct, mask = _gaussian((8, 7, 6), m=3, seed=10)
    mask[0], mask[:, :, 5] = False, False
    got = sums.judge_sums(draws, ct, mask)
    wild = np.where(mask, draws, np.nan)
    assert sums.judge_sums(wild, np.where(mask, ct, np.inf), mask) == got
    assert sums.judge_sums(wild, np.where(mask, ct, np.inf), mask.astype(np.uint8)) == got
    assert got.along_x == sums.line_spread_skill(draws, ct, mask, 0)
    assert got.energy == sums.energy_score(draws[:, mask], ct[mask])
    assert sums.judge_sums([*draws.astype(np.float32)], ct, mask) == pytest.approx(got, rel=1e-4)


def test_refusals():
    draws, ct, mask = _gaussian((6, 5, 4), m=3)
    with pytest.raises(InputError, match="at least 2 draws"):
        sums.judge_sums(draws[:1], ct, mask)
    with pytest.raises(InputError, match="The draw 0 has shape"):
        sums.judge_sums(draws[:, 1:], ct, mask)
    with pytest.raises(InputError, match="mask is empty"):
        sums.judge_sums(draws, ct, ~mask)
    with pytest.raises(InputError, match="No two voxels of the mask"):
        sums.judge_sums(draws, ct, np.arange(mask.size).reshape(mask.shape) == 7)
