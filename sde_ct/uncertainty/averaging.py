"""How many draws are enough: the error of their mean as a function of their number."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sde_ct.uncertainty.draws import moments
from sde_ct.uncertainty.scores import Draws, Voxels

ENOUGH = 1.01  # of the error that infinitely many draws would have


class ErrorByDraws(NamedTuple):
    """Root mean square error of the mean of the first 1, 2 … M draws, HU."""

    draws: Int[np.ndarray, " m"]
    rmse: Float[np.ndarray, " m"]
    variance: float  # of a draw about the mean of its voxel, HU²
    limit: float  # extrapolated to infinitely many draws, by 1/M
    enough: int | None  # least number of draws with an error below `ENOUGH` limits; None: never


def error_by_draws(draws: Draws, ct: Voxels) -> ErrorByDraws:
    """How the error of the mean falls with the number of draws, and where it ends.

    The mean of m independent draws has the expected square error E(∞) + V/m, where V is their
    variance. So E(∞) = E(M) - V/M, which more draws of this network cannot reduce.
    """
    _, variance = moments(draws)
    total, mse = np.zeros(ct.shape), []
    for count, draw in enumerate(draws, start=1):  # one draw at a time, to save memory
        total += draw
        mse.append(np.square(total / count - ct).mean())
    return _extrapolated(np.array(mse), float(variance.mean()))


def over_patients(cases: Sequence[ErrorByDraws]) -> ErrorByDraws:
    """The mean over patients, each with weight one, up to the fewest draws of any patient."""
    count = min(len(case.draws) for case in cases)
    mse = np.mean([np.square(case.rmse[:count]) for case in cases], axis=0)
    return _extrapolated(mse, float(np.mean([case.variance for case in cases])))


def _extrapolated(mse: Float[np.ndarray, " m"], variance: float) -> ErrorByDraws:
    m = len(mse)
    limit = max(0.0, float(mse[-1]) - variance / m)
    # The least m with √(limit + V/m) <= ENOUGH √limit.
    enough = max(1, int(np.ceil(variance / (limit * (ENOUGH**2 - 1))))) if limit > 0 else None
    return ErrorByDraws(np.arange(1, m + 1), np.sqrt(mse), variance, float(np.sqrt(limit)), enough)
