"""Water-equivalent path lengths (WEPL) along rays, in mm, with their spread over draws.

A proton beam stops where the integral of the relative stopping power (RSP) along its path,

    WEPL = ∫ RSP(HU(s)) ds,

reaches the range in water that belongs to its energy. An error of the WEPL to a point is the error
of the protons' range there. The spread of an integral cannot be computed from a map of the voxels'
spread, because errors of neighbours are correlated. It is computed from the WEPL of each draw.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.sparse import csr_matrix

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import require_draws
from sde_ct.uncertainty.stopping_power import PYRADPLAN, StoppingPower
from sde_ct.volumes.masks import CtVolume

Draws = Sequence[Shaped[np.ndarray, "x y z"]] | Shaped[np.ndarray, "m x y z"]


class RangeFigures(NamedTuple):
    """Path lengths in mm of every ray."""

    nominal: Float[np.ndarray, " r"]  # in the mean CT, on which a plan is made
    lengths: Float[np.ndarray, "m r"]  # in every draw
    real: Float[np.ndarray, " r"] | None  # in the real CT, where it is given

    @property
    def mean(self) -> Float[np.ndarray, " r"]:
        """The mean over the draws. It differs from `nominal` because RSP is not linear in HU."""
        return self.lengths.mean(axis=0)

    @property
    def spread(self) -> Float[np.ndarray, " r"]:
        """The standard deviation over the draws, M - 1 in the denominator."""
        return self.lengths.std(axis=0, ddof=1)

    @property
    def error(self) -> Float[np.ndarray, " r"] | None:
        """`nominal` - `real`, the range error of a plan on the mean CT; None without a real CT."""
        return None if self.real is None else self.nominal - self.real


def path_lengths(
    draws: Draws, matrix: csr_matrix, table: StoppingPower = PYRADPLAN
) -> Float[np.ndarray, "m r"]:
    """The WEPL of every ray in every draw, mm.

    Args:
        draws: M CTs, HU, on the grid of `matrix`; they are read one after another.
        matrix: from `ray_matrix`.

    Raises:
        InputError: a draw has another number of voxels, or NaN or infinite ones on a ray.
    """
    voxels = np.unique(matrix.indices)
    crossed = matrix[:, voxels]
    return np.stack(
        [
            crossed @ table(_values(draw, matrix, voxels, f"CT {i + 1} of {len(draws)}"))
            for i, draw in enumerate(draws)
        ]
    )


def range_figures(
    draws: Draws,
    matrix: csr_matrix,
    table: StoppingPower = PYRADPLAN,
    *,
    ct: CtVolume | None = None,
) -> RangeFigures:
    """The path lengths of M >= 2 draws, of their mean, and of the real CT where it is given.

    Args:
        draws, matrix, table: as for `path_lengths`.
        ct: the real CT on the same grid, HU. The length of a ray is valid only if the CT measured
            the whole ray.

    Raises:
        InputError: fewer than 2 draws, or `path_lengths` refuses an image.
    """
    require_draws(len(draws))
    voxels = np.unique(matrix.indices)
    total = np.zeros(len(voxels))
    for draw in draws:
        total += _values(draw, matrix, voxels, "CT")
    nominal = matrix[:, voxels] @ table(total / len(draws))
    real = None if ct is None else path_lengths([ct], matrix, table)[0]
    return RangeFigures(nominal, path_lengths(draws, matrix, table), real)


def _values(image: np.ndarray, matrix: csr_matrix, voxels: np.ndarray, name: str) -> np.ndarray:
    """The HU of the voxels that rays cross, float64."""
    if image.size != matrix.shape[1]:
        raise InputError(
            f"The {name} has {image.size} voxels and the rays cross an image of {matrix.shape[1]}: "
            "compute the rays on the grid of this CT."
        )
    values = image.reshape(-1)[voxels].astype(float)
    if not np.isfinite(values).all():
        raise InputError(f"The {name} holds NaN or infinite voxels on a ray: repair them.")
    return values
