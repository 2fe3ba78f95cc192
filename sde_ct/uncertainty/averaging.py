"""The error of the mean of draws as a function of the number of draws."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sde_ct.uncertainty.draws import moments
from sde_ct.uncertainty.scores import Draws, Voxels

ENOUGH = 1.01


class ErrorByDraws(NamedTuple):
    """Root mean square error of the mean of the first 1, 2 … M draws, HU."""

    draws: Int[np.ndarray, " m"]
    rmse: Float[np.ndarray, " m"]
    variance: float  # variance of the draws in a voxel, mean over voxels, HU²
    limit: float  # the error extrapolated to infinitely many draws, HU
    enough: int | None  # fewest draws with an error of at most `ENOUGH` times the limit, if any


def error_by_draws(draws: Draws, ct: Voxels) -> ErrorByDraws:
    """The error of the mean of 1 to M draws, and its limit, which more draws cannot reduce.

    The mean of m independent draws has the expected square error E(∞) + V/m, where V is their
    variance, so E(∞) = E(M) - V/M.
    """
    _, variance = moments(draws)
    total, mse = np.zeros(ct.shape), []
    for count, draw in enumerate(draws, start=1):  # one draw at a time, to save memory
        total += draw
        mse.append(np.square(total / count - ct).mean())
    return _extrapolated(np.array(mse), float(variance.mean()))


def over_patients(cases: Sequence[ErrorByDraws]) -> ErrorByDraws:
    """The mean over patients of equal weight, up to the smallest number of draws of any patient."""
    count = min(len(case.draws) for case in cases)
    mse = np.mean([np.square(case.rmse[:count]) for case in cases], axis=0)
    return _extrapolated(mse, float(np.mean([case.variance for case in cases])))


def _extrapolated(mse: Float[np.ndarray, " m"], variance: float) -> ErrorByDraws:
    m = len(mse)
    limit = max(0.0, float(mse[-1]) - variance / m)
    # The least m with √(limit + V/m) <= ENOUGH √limit.
    enough = max(1, int(np.ceil(variance / (limit * (ENOUGH**2 - 1))))) if limit > 0 else None
    return ErrorByDraws(np.arange(1, m + 1), np.sqrt(mse), variance, float(np.sqrt(limit)), enough)
