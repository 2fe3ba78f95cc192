"""Whether the spread of the draws tells where the synthetic CT is wrong.

The draws of one network show the ambiguity of its data, CT given MR; they do not show what the
network itself never learnt, so a calibrated spread here is no warrant on other scanners.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from sde_ct.errors import InputError
from sde_ct.evaluation.metrics import CtVolume, Mask, as_mask


class UncertaintyMetrics(NamedTuple):
    """Judgement of M draws of one case, over the body."""

    spearman: float  # rank correlation of spread with |error|; NaN where the spread is constant
    spread_skill: float  # 1 is calibrated, below 1 overconfident; NaN for an error of 0
    crps: float  # HU, lower is better; for a single value it is the absolute error
    spread: float  # mean standard deviation of the draws, HU
    draws: int


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
    _require_draws(draws)
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
    _require_draws(m)
    x = np.sort(np.stack([draw[mask] for draw in draws]).astype(np.float64), axis=0)
    # Sorted, ΣΣ|x_i - x_j| = 2 Σ (2 i - M + 1) x_i for i = 0 … M-1: no M² memory.
    pairs = 2 * np.tensordot(2 * np.arange(m) - m + 1, x, axes=1)
    accuracy = np.abs(x - ct[mask]).mean(axis=0)
    return float((accuracy - pairs / (2 * m * (m - 1))).mean())


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


def _require_draws(draws: int) -> None:
    if draws < 2:
        raise InputError(f"A spread needs at least 2 draws and there is {draws}: draw more.")
