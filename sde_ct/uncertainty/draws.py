"""Whether the spread of the draws tells where the synthetic CT is wrong.

The draws of one network show the ambiguity of its data, CT given MR; they do not show what the
network itself never learnt, so a calibrated spread here is no warrant on other scanners.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from sde_ct.errors import InputError
from sde_ct.volumes.masks import CtVolume, Mask, as_mask

BINS = 10  # of `ence`
TAKEN = np.arange(20) / 20  # shares of voxels that `sparsification` takes away


class UncertaintyMetrics(NamedTuple):
    """Judgement of M draws of one case, over the body."""

    spearman: float  # rank correlation of spread with |error|; NaN where the spread is constant
    spread_skill: float  # 1 is calibrated, below 1 overconfident; NaN for an error of 0
    crps: float  # HU, lower is better; for a single value it is the absolute error
    spread: float  # mean standard deviation of the draws, HU
    draws: int


class SpreadBins(NamedTuple):
    """Bins of equal numbers of voxels, by rising spread; HU."""

    predicted: Float[np.ndarray, " bins"]  # root mean variance
    observed: Float[np.ndarray, " bins"]  # root mean squared error
    ence: float


class Sparsification(NamedTuple):
    """What is left of the mean |error|, relative to all voxels', without a share of them."""

    taken: Float[np.ndarray, " k"]  # 0 to 0.95
    by_spread: Float[np.ndarray, " k"]
    oracle: Float[np.ndarray, " k"]
    ause: float


class Decomposition(NamedTuple):
    """Variances of every voxel, HU²; their sum is that of a draw from a network at random."""

    within: CtVolume
    between: CtVolume


def spearman(spread: CtVolume, error: CtVolume, mask: Mask) -> float:
    """Rank correlation of the draws' standard deviation with |error| over the mask, -1 to 1.

    NaN where either is the same everywhere: ranks do not exist there.
    """
    mask = as_mask(mask, spread, error=error)
    s, e = spread[mask], np.abs(error[mask])
    if np.ptp(s) == 0 or np.ptp(e) == 0:
        return float("nan")
    return float(stats.spearmanr(s, e).statistic)


def spread_skill(spread: CtVolume, error: CtVolume, mask: Mask, draws: int) -> float:
    """√((M+1)/M · mean s²) / √(mean error²), with error that of the mean of M draws.

    With the factor, 1 is what an ensemble reaches whose members and truth come from one
    distribution (Fortin et al., J. Hydrometeorol. 15(4), 2014).
    """
    mask = as_mask(mask, spread, error=error)
    require_draws(draws)
    variance = np.square(spread[mask], dtype=np.float64).mean() * (draws + 1) / draws
    mse = np.square(error[mask], dtype=np.float64).mean()
    return float(np.sqrt(variance / mse)) if mse > 0 else float("nan")


def fair_crps(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> float:
    """Continuous ranked probability score over the mask, HU, unbiased by the number of draws.

    CRPS = (1/M) Σ|x_i - y| - 1/(2 M (M-1)) ΣΣ|x_i - x_j|, averaged over voxels (Ferro,
    Q. J. R. Meteorol. Soc. 140, 2014).
    """
    mask = as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
    m = len(draws)
    require_draws(m)
    x = np.sort(np.stack([draw[mask] for draw in draws]).astype(np.float64), axis=0)
    # Sorted, ΣΣ|x_i - x_j| = 2 Σ (2 i - M + 1) x_i for i = 0 … M-1: no M² memory.
    pairs = 2 * np.tensordot(2 * np.arange(m) - m + 1, x, axes=1)
    accuracy = np.abs(x - ct[mask]).mean(axis=0)
    return float((accuracy - pairs / (2 * m * (m - 1))).mean())


def ence(spread: CtVolume, error: CtVolume, mask: Mask, draws: int) -> SpreadBins:
    """Expected normalised calibration error, 0 for a spread that is right wherever it is large.

    ENCE = (1/B) Σ_b |RMV_b - RMSE_b| / RMV_b over `BINS` bins of equal numbers of voxels, sorted
    by spread, with RMV_b = √((M+1)/M · mean s²) and RMSE_b of the mean of M draws (Levi et al.,
    Sensors 22(15):5540, 2022). The spread of few draws is itself noise, by which the bins are
    then sorted: 2 draws of a calibrated sampler do not reach 0. Infinite where a bin's spread is 0
    and its error is not.

    Raises:
        InputError: fewer voxels than bins; and what `as_mask` refuses.
    """
    mask = as_mask(mask, spread, error=error)
    require_draws(draws)
    s, e = spread[mask].astype(np.float64), error[mask].astype(np.float64)
    if s.size < BINS:
        raise InputError(f"The mask holds {s.size} voxels: {BINS} bins need at least as many.")
    order = np.argsort(s, kind="stable")
    rmv, rmse = (
        np.sqrt([np.square(part).mean() for part in np.array_split(v[order], BINS)])
        for v in (s * np.sqrt((draws + 1) / draws), e)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(rmv == rmse, 0, np.abs(rmv - rmse) / rmv)
    return SpreadBins(rmv, rmse, float(relative.mean()))


def sparsification(spread: CtVolume, error: CtVolume, mask: Mask) -> Sparsification:
    """How the mean |error| falls as the voxels of largest spread are taken away.

    Relative to the mean over all voxels; AUSE is the area between the curve and that of an oracle
    who takes the largest errors away first, over 0 to 95 % taken (Ilg et al., ECCV 2018): 0 is a
    spread that ranks voxels as their errors do. Voxels of equal spread leave together, so a
    collapsed spread has a flat curve. All NaN where the error is 0 everywhere.
    """
    mask = as_mask(mask, spread, error=error)
    s, e = spread[mask], np.abs(error[mask].astype(np.float64))
    _, group, size = np.unique(s, return_inverse=True, return_counts=True)
    shared = (np.bincount(group, weights=e) / size)[group]  # of equal spreads, their mean error
    curves = [_remaining(e, s, shared), _remaining(e, e, e)]
    return Sparsification(  # type: ignore[call-arg]
        TAKEN,
        *curves,  # type: ignore[arg-type]
        float(np.trapezoid(curves[0], TAKEN) - np.trapezoid(curves[1], TAKEN)),
    )


def _remaining(
    error: Float[np.ndarray, " n"], by: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " k"]:
    """Mean of `value`, over the whole mean error, without each share in `TAKEN` of largest `by`."""
    lowest_first = value[np.argsort(by, kind="stable")]
    kept = np.maximum(1, np.rint((1 - TAKEN) * error.size).astype(int))
    with np.errstate(invalid="ignore"):
        return np.cumsum(lowest_first)[kept - 1] / kept / error.mean()


def moments(
    draws: Sequence[CtVolume] | Float[np.ndarray, "m x y z"],
) -> tuple[Float[np.ndarray, "x y z"], Float[np.ndarray, "x y z"]]:
    """Mean and variance (M - 1 in the denominator) of M >= 2 draws, HU and HU², float64.

    One draw after the other, which takes the memory of a few volumes however many there are.
    """
    require_draws(len(draws))
    nothing = np.zeros(draws[0].shape)
    mean = sum(draws, start=nothing) / len(draws)
    return mean, sum((np.square(draw - mean) for draw in draws), start=nothing) / (len(draws) - 1)


def decompose(members: Sequence[Sequence[CtVolume]]) -> Decomposition:
    """Variance of several networks' draws, split into what each says and where they disagree.

    Law of total variance: the mean over networks of the draws' variance is the data's ambiguity;
    the variance of the networks' means, less the share that M draws leave in it by chance, is what
    the networks do not know (deep ensembles, Lakshminarayanan et al., NeurIPS 2017; Depeweg et
    al., ICML 2018). Unbiased, so a voxel's may be below 0: average before reading it.

    Args:
        members: of each network M >= 2 draws of one patient, HU, on one grid.

    Raises:
        InputError: fewer than 2 networks or draws, or different shapes.
    """
    shapes = [(len(draws), *draws[0].shape) for draws in members]
    if len(members) < 2 or len(set(shapes)) > 1:
        raise InputError(
            f"A decomposition needs as many draws on one grid from each of at least 2 networks, "
            f"and the shapes are {shapes}: draw them alike."
        )
    means, variances = zip(*map(moments, members), strict=True)
    within = np.mean(variances, axis=0)
    return Decomposition(within, moments(means)[1] - within / len(members[0]))


def evaluate_draws(
    draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask
) -> UncertaintyMetrics:
    """Spread, its rank correlation with |error of the mean|, its calibration and the fair CRPS.

    Args:
        draws: M >= 2 synthetic CTs of one patient, HU.
        ct: the real CT, HU.
        mask: the body, above 0.
    """
    crps = fair_crps(draws, ct, mask)
    spread = np.std(draws, axis=0, ddof=1, dtype=np.float64)
    error = np.mean(draws, axis=0, dtype=np.float64) - ct
    return UncertaintyMetrics(
        spearman=spearman(spread, error, mask),
        spread_skill=spread_skill(spread, error, mask, len(draws)),
        crps=crps,
        spread=float(spread[np.asarray(mask) > 0].mean()),
        draws=len(draws),
    )


def require_draws(draws: int) -> None:
    """Raise an `InputError` for fewer than the two draws that make a spread."""
    if draws < 2:
        raise InputError(f"A spread needs at least 2 draws and there is {draws}: draw more.")
