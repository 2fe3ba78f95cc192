"""Scores of M draws against the real CT.

If the draws and the real CT come from one distribution, p(CT | MR), the real CT has every rank
among the sorted draws with the same probability. Rank histogram, coverage, spread-skill and ENCE
test this. The spread of one network's draws shows the ambiguity of its data and not what the
network never learnt, so a calibrated spread guarantees nothing on other scanners.

In the arguments, the voxels that count form one axis: `draws` [m, n], `ct` [n], `spread` [n] (the
standard deviation of the draws) and `error` [n] (of their mean), all in HU.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import require_draws

Draws = Float[np.ndarray, "m n"]
Voxels = Float[np.ndarray, " n"]

BINS = 10  # of `spread_bins`
REMOVED = np.arange(20) / 20  # shares of voxels that `sparsification` removes


def spearman(spread: Voxels, error: Voxels) -> float:
    """Rank correlation of the spread with |error|; NaN where either is constant."""
    size = np.abs(error)
    if np.ptp(spread) == 0 or np.ptp(size) == 0:
        return float("nan")
    from scipy import stats  # takes half a second to import

    return float(stats.spearmanr(spread, size).statistic)


def spread_skill(spread: Voxels, error: Voxels, draws: int) -> float:
    """√((M+1)/M · mean s²) / √(mean error²); NaN for an error of 0 everywhere.

    It is 1 if draws and CT come from one distribution (Fortin et al., J. Hydrometeorol. 15(4),
    2014). Below 1 the draws are overconfident.
    """
    require_draws(draws)
    variance = np.square(spread, dtype=np.float64).mean() * (draws + 1) / draws
    mse = np.square(error, dtype=np.float64).mean()
    return float(np.sqrt(variance / mse)) if mse > 0 else float("nan")


def fair_crps(draws: Draws, ct: Voxels) -> float:
    """Continuous ranked probability score, HU, unbiased in the number of draws; lower is better.

    CRPS = (1/M) Σ|x_i - y| - 1/(2 M (M-1)) ΣΣ|x_i - x_j|, averaged over voxels (Ferro,
    Q. J. R. Meteorol. Soc. 140, 2014). Draws that all agree score their absolute error.
    """
    m = len(draws)
    require_draws(m)
    x = np.sort(draws.astype(np.float64), axis=0)
    # For sorted x, ΣΣ|x_i - x_j| = 2 Σ (2 i - M + 1) x_i with i = 0 … M-1, without M² memory.
    pairs = 2 * np.tensordot(2 * np.arange(m) - m + 1, x, axes=1)
    return float((np.abs(x - ct).mean(axis=0) - pairs / (2 * m * (m - 1))).mean())


class RankHistogram(NamedTuple):
    """The rank of the real CT among its M draws, from below all (0) to above all (M)."""

    shares: Float[np.ndarray, " ranks"]  # of voxels; calibrated draws give 1 / (M + 1) each
    deviation: float  # Σ|share - 1 / (M + 1)|, 0 for a flat histogram, always below 2
    voxels: int


def rank_histogram(draws: Draws, ct: Voxels) -> RankHistogram:
    """Ranks of the real CT among the draws (Hamill, Mon. Weather Rev. 129, 2001).

    The histogram is ∪-shaped for a spread that is too narrow, ∩-shaped for one that is too wide,
    and tilted by a bias. If a CT value equals some draws, as with rounded or clipped HU, it
    counts in equal parts for all of its possible ranks.
    """
    m = len(draws)
    require_draws(m)
    below_equal = np.stack([(draws < ct).sum(axis=0), (draws == ct).sum(axis=0)])
    pairs, voxels = np.unique(below_equal, axis=1, return_counts=True)
    counts = np.zeros(m + 1)
    for (below, equal), n in zip(pairs.T, voxels, strict=True):
        counts[below : below + equal + 1] += n / (equal + 1)
    shares = counts / ct.size
    return RankHistogram(shares, float(np.abs(shares - 1 / (m + 1)).sum()), ct.size)


class Coverage(NamedTuple):
    """Shares of voxels whose real CT lies from the k-th lowest to the k-th highest of M draws.

    The levels are k = 1, 2, …; for k = 1 the interval is the range of all draws. The nominal share
    is (M + 1 - 2 k) / (M + 1), which is exact for any continuous distribution.
    """

    nominal: Float[np.ndarray, " levels"]
    observed: Float[np.ndarray, " levels"]


def coverage(histogram: RankHistogram) -> Coverage:
    """How often the real CT lies within the central intervals of the draws."""
    shares = histogram.shares
    k = np.arange(1, (len(shares) + 1) // 2)
    return Coverage(1 - 2 * k / len(shares), np.array([shares[i:-i].sum() for i in k]))


def require_voxels(count: int) -> None:
    """Raise InputError for a mask of fewer than `BINS` voxels."""
    if count < BINS:
        raise InputError(f"The mask holds {count} voxels: give one with at least {BINS}.")


class SpreadBins(NamedTuple):
    """Bins with equal numbers of voxels, ordered by spread, HU."""

    predicted: Float[np.ndarray, " bins"]  # root mean variance
    observed: Float[np.ndarray, " bins"]  # root mean squared error
    ence: float


def spread_bins(spread: Voxels, error: Voxels, draws: int) -> SpreadBins:
    """Expected normalised calibration error; 0 if the error equals the spread in every bin.

    ENCE = (1/B) Σ_b |RMV_b - RMSE_b| / RMV_b over `BINS` bins of equal numbers of voxels, sorted
    by spread, with RMV_b = √((M+1)/M · mean s²) and RMSE_b of the mean of M draws (Levi et al.,
    Sensors 22(15):5540, 2022). The noise in the spread of few draws increases ENCE, so even
    a calibrated sampler does not reach 0 with 2 draws. ENCE is infinite if a bin has error but no
    spread.

    Raises:
        InputError: fewer voxels than bins.
    """
    require_draws(draws)
    require_voxels(spread.size)
    order = np.argsort(spread, kind="stable")
    rmv, rmse = (
        np.sqrt([np.square(part).mean() for part in np.array_split(v[order], BINS)])
        for v in (spread * np.sqrt((draws + 1) / draws), error)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(rmv == rmse, 0, np.abs(rmv - rmse) / rmv)
    return SpreadBins(rmv, rmse, float(relative.mean()))


class Sparsification(NamedTuple):
    """The mean |error| of the remaining voxels, divided by that of all voxels."""

    taken: Float[np.ndarray, " k"]  # share of voxels removed, 0 to 0.95
    by_spread: Float[np.ndarray, " k"]
    oracle: Float[np.ndarray, " k"]
    ause: float


def sparsification(spread: Voxels, error: Voxels) -> Sparsification:
    """How the mean |error| falls as the voxels of largest spread are removed.

    AUSE is the area between this curve and that of an oracle that removes the largest errors
    first, over 0 to 95 % removed (Ilg et al., ECCV 2018). It is 0 if spread and error rank voxels
    alike. Voxels of equal spread count with their mean |error|, so a collapsed spread gives a flat
    curve. The curves and AUSE are NaN if the error is 0 everywhere.
    """
    size = np.abs(error.astype(np.float64))
    _, group, count = np.unique(spread, return_inverse=True, return_counts=True)
    shared = (np.bincount(group, weights=size) / count)[group]  # mean error of equal spreads
    curve, oracle = _remaining(size, spread, shared), _remaining(size, size, size)
    area = float(np.trapezoid(curve, REMOVED) - np.trapezoid(oracle, REMOVED))
    return Sparsification(REMOVED, curve, oracle, area)


def _remaining(error: Voxels, by: Voxels, value: Voxels) -> Float[np.ndarray, " k"]:
    """Mean `value` without each share `REMOVED` of voxels of largest `by`, over the mean error."""
    lowest_first = value[np.argsort(by, kind="stable")]
    kept = np.maximum(1, np.rint((1 - REMOVED) * error.size).astype(int))
    with np.errstate(invalid="ignore"):
        return np.cumsum(lowest_first)[kept - 1] / kept / error.mean()
