"""The one place where coordinates change between RAS (NIfTI, volumes) and LPS (DICOM, ITK)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # right <-> left, anterior <-> posterior


def swap_lps_ras(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The affine in the other convention, mm; its own inverse."""
    return FLIP @ affine


class ItkGrid(NamedTuple):
    """The grid of a volume as ITK's images have it, LPS mm."""

    origin: list[float]
    spacing: list[float]
    direction: Float[np.ndarray, "3 3"]  # a unit vector a column


def itk_grid(affine: Float[np.ndarray, "4 4"]) -> ItkGrid:
    """Of voxels whose affine leads to RAS mm; their array goes to ITK transposed."""
    there = swap_lps_ras(affine)
    spacing = np.linalg.norm(there[:3, :3], axis=0)
    return ItkGrid(there[:3, 3].tolist(), spacing.tolist(), there[:3, :3] / spacing)
