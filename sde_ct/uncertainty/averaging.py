"""How many draws are enough: the error of their mean against their number."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sde_ct.uncertainty.draws import require_draws
from sde_ct.volumes.masks import CtVolume, Mask, as_mask

ENOUGH = 1.01  # of the error that infinitely many draws would have


class ErrorByDraws(NamedTuple):
    """Root mean square error of the mean of the first 1, 2 … M draws, HU."""

    draws: Int[np.ndarray, " m"]
    rmse: Float[np.ndarray, " m"]
    variance: float  # of a draw about its voxel's mean, HU²
    limit: float  # of infinitely many draws, by 1/M
    enough: int | None  # draws from which the limit is missed by less than `ENOUGH`; None: never


def error_by_draws(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> ErrorByDraws:
    """How the error of the mean falls with the draws averaged, and where it ends.

    The mean of m independent draws has the expected square error E(∞) + V/m with V their variance,
    so E(∞) = E(M) - mean s² / M: what more draws of this network cannot take away.

    Args:
        draws: M >= 2 synthetic CTs of one patient, HU.
        ct: the real CT, HU.
        mask: the body, above 0.
    """
    mask = as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
    require_draws(len(draws))
    truth, total, square = ct[mask].astype(np.float64), 0.0, 0.0
    mse = []
    for count, draw in enumerate(draws, start=1):  # one draw at a time: no copy of all
        x = draw[mask].astype(np.float64)
        total, square = total + x, square + x**2
        mse.append(np.square(total / count - truth).mean())
    m = len(draws)
    variance = float((square - total**2 / m).mean() / (m - 1))  # type: ignore[attr-defined]
    return _extrapolated(np.array(mse), max(0.0, variance))


def over_patients(cases: Sequence[ErrorByDraws]) -> ErrorByDraws:
    """The same of several patients, each weighing one, up to the fewest draws of any."""
    count = min(len(case.draws) for case in cases)
    mse = np.mean([np.square(case.rmse[:count]) for case in cases], axis=0)
    return _extrapolated(mse, float(np.mean([case.variance for case in cases])))


def _extrapolated(mse: Float[np.ndarray, " m"], variance: float) -> ErrorByDraws:
    m = len(mse)
    limit = max(0.0, float(mse[-1]) - variance / m)
    # √(limit + V/m) <= 1.01 √limit, for the least m
    enough = max(1, int(np.ceil(variance / (limit * (ENOUGH**2 - 1))))) if limit > 0 else None
    return ErrorByDraws(np.arange(1, m + 1), np.sqrt(mse), variance, float(np.sqrt(limit)), enough)
