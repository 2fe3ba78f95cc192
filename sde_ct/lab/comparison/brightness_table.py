"""MR intensity -> HU by a table: the control that every learned method must beat.

It knows what tissue a brightness usually is and nothing of anatomy, so cortical bone and gas, both
dark in MR, get one value.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError


@dataclass(frozen=True)
class Lookup:
    """Knots of a piecewise linear map from MR intensity (increasing) to HU."""

    mr: Float[np.ndarray, " n"]
    hu: Float[np.ndarray, " n"]

    def apply(self, mr: Float[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """HU for every voxel; beyond the outermost knots their HU holds."""
        return np.interp(mr, self.mr, self.hu).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """The knots as plain lists; `from_json` gives the same table back, bit for bit."""
        return {"mr": self.mr.tolist(), "hu": self.hu.tolist()}

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Lookup":
        """The table that `to_json` wrote."""
        try:
            mr, hu = (np.asarray(record[k], np.float64) for k in ("mr", "hu"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "The lookup table must hold the numbers 'mr' and 'hu': fit it again."
            ) from error
        if mr.ndim != 1 or mr.shape != hu.shape or mr.size == 0 or (np.diff(mr) <= 0).any():
            raise InputError(
                "The lookup table needs as many HU as increasing MR values: fit it again."
            )
        return Lookup(mr, hu)


def fit_lookup(
    mr_values: Float[np.ndarray, " n"], hu_values: Float[np.ndarray, " n"], bins: int = 128
) -> Lookup:
    """The *median* HU, which minimises the mean absolute error, by MR intensity.

    Args:
        mr_values: MR of body voxels of the training patients, in the scale `apply` will see.
        hu_values: CT of the same voxels, HU.
        bins: intervals of MR intensity, each with as many voxels as the next; intervals that
            fall together, where many voxels share one intensity, become one.

    Returns:
        The table, with a knot at the median MR and the median HU of each interval.

    Raises:
        InputError: no voxels, unequal numbers of them, non-finite ones, or `bins` below 1.
    """
    mr, hu = np.ravel(mr_values).astype(np.float64), np.ravel(hu_values).astype(np.float64)
    if mr.size != hu.size or mr.size == 0:
        raise InputError(
            f"The lookup needs as many MR as CT voxels and at least one, not {mr.size} and "
            f"{hu.size}: take both from the same body mask."
        )
    if not (np.isfinite(mr).all() and np.isfinite(hu).all()):
        raise InputError("The lookup's MR or CT voxels are NaN or infinite: repair the images.")
    if bins < 1:
        raise InputError(f"The lookup needs at least one bin, not {bins}.")
    order = np.argsort(mr, kind="stable")
    mr, hu = mr[order], hu[order]
    edges = np.unique(np.quantile(mr, np.linspace(0, 1, bins + 1)[1:-1]))
    # 'right' keeps equal intensities in one interval; an interval may come out empty.
    parts = np.unique(np.searchsorted(mr, edges, side="right"))
    parts = parts[(parts > 0) & (parts < mr.size)]
    return Lookup(
        np.array([np.median(part) for part in np.split(mr, parts)]),
        np.array([np.median(part) for part in np.split(hu, parts)]),
    )
