"""Scores of M draws against the real CT.

If the draws and the real CT come from one distribution, p(CT | MR), then the real CT is as likely
to fall between any two neighbouring draws as between any others. The scores here test that. The
draws of one network show the ambiguity of its data; they do not show what the network never
learnt, so a calibrated spread guarantees nothing on other scanners.

Every function takes the voxels that count as one axis: `draws` [m, n], `ct` [n], `spread` [n] (the
standard deviation of the draws) and `error` [n] (of their mean), all in HU.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import require_draws

Draws = Float[np.ndarray, "m n"]
Voxels = Float[np.ndarray, " n"]

BINS = 10  # of `spread_bins`
REMOVED = np.arange(20) / 20  # shares of voxels that `sparsification` removes


def spearman(spread: Voxels, error: Voxels) -> float:
    """Rank correlation of the spread with |error|, -1 to 1; NaN where either is constant."""
    size = np.abs(error)
    if np.ptp(spread) == 0 or np.ptp(size) == 0:
        return float("nan")
    return float(stats.spearmanr(spread, size).statistic)


def spread_skill(spread: Voxels, error: Voxels, draws: int) -> float:
    """√((M+1)/M · mean s²) / √(mean error²); NaN for an error of 0 everywhere.

    With the factor, an ensemble whose members and truth come from one distribution reaches 1
    (Fortin et al., J. Hydrometeorol. 15(4), 2014). Values below 1 are overconfident.
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
    # For sorted x, ΣΣ|x_i - x_j| = 2 Σ (2 i - M + 1) x_i with i = 0 … M-1: no M² memory.
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
    and tilted by a bias. A voxel equal to some draws, as where HU are rounded or clipped, is
    shared evenly among the ranks that it could have.
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
    """Shares of voxels between the k lowest and k highest of M draws, widest interval first.

    The first interval is the range of all draws. The nominal share is (M + 1 - 2 k) / (M + 1),
    which is exact for any distribution; levels in between would need interpolation.
    """

    nominal: Float[np.ndarray, " levels"]
    observed: Float[np.ndarray, " levels"]


def coverage(histogram: RankHistogram) -> Coverage:
    """How often the real CT lies within the central intervals that M draws offer."""
    shares = histogram.shares
    k = np.arange(1, (len(shares) + 1) // 2)
    return Coverage(1 - 2 * k / len(shares), np.array([shares[i:-i].sum() for i in k]))


class SpreadBins(NamedTuple):
    """Bins with equal numbers of voxels, ordered by spread, HU."""

    predicted: Float[np.ndarray, " bins"]  # root mean variance
    observed: Float[np.ndarray, " bins"]  # root mean squared error
    ence: float


def spread_bins(spread: Voxels, error: Voxels, draws: int) -> SpreadBins:
    """Expected normalised calibration error: 0 for a spread that is right wherever it is large.

    ENCE = (1/B) Σ_b |RMV_b - RMSE_b| / RMV_b over `BINS` bins of equal numbers of voxels, sorted
    by spread, with RMV_b = √((M+1)/M · mean s²) and RMSE_b of the mean of M draws (Levi et al.,
    Sensors 22(15):5540, 2022). The spread of few draws is noisy, and the bins are sorted by that
    noise: 2 draws of a calibrated sampler do not reach 0. The value is infinite where a bin has
    no spread but an error.

    Raises:
        InputError: fewer voxels than bins.
    """
    require_draws(draws)
    if spread.size < BINS:
        raise InputError(f"The mask holds {spread.size} voxels: {BINS} bins need at least as many.")
    order = np.argsort(spread, kind="stable")
    rmv, rmse = (
        np.sqrt([np.square(part).mean() for part in np.array_split(v[order], BINS)])
        for v in (spread * np.sqrt((draws + 1) / draws), error)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(rmv == rmse, 0, np.abs(rmv - rmse) / rmv)
    return SpreadBins(rmv, rmse, float(relative.mean()))


class Sparsification(NamedTuple):
    """The mean |error| of the voxels that remain, divided by that of all voxels."""

    taken: Float[np.ndarray, " k"]  # share of voxels removed, 0 to 0.95
    by_spread: Float[np.ndarray, " k"]
    oracle: Float[np.ndarray, " k"]
    ause: float


def sparsification(spread: Voxels, error: Voxels) -> Sparsification:
    """How the mean |error| falls as the voxels of largest spread are removed.

    AUSE is the area between this curve and that of an oracle that removes the largest errors
    first, over 0 to 95 % removed (Ilg et al., ECCV 2018). It is 0 for a spread that ranks voxels
    as their errors do. Voxels of equal spread are removed together, so a collapsed spread gives a
    flat curve. All values are NaN where the error is 0 everywhere.
    """
    size = np.abs(error.astype(np.float64))
    _, group, count = np.unique(spread, return_inverse=True, return_counts=True)
    shared = (np.bincount(group, weights=size) / count)[group]  # mean error of equal spreads
    curve, oracle = _remaining(size, spread, shared), _remaining(size, size, size)
    area = float(np.trapezoid(curve, REMOVED) - np.trapezoid(oracle, REMOVED))
    return Sparsification(REMOVED, curve, oracle, area)


def _remaining(error: Voxels, by: Voxels, value: Voxels) -> Float[np.ndarray, " k"]:
    """Mean `value` without each share in `REMOVED` of largest `by`, over the mean of all errors."""
    lowest_first = value[np.argsort(by, kind="stable")]
    kept = np.maximum(1, np.rint((1 - REMOVED) * error.size).astype(int))
    with np.errstate(invalid="ignore"):
        return np.cumsum(lowest_first)[kept - 1] / kept / error.mean()
