"""Convert coordinates between RAS (NIfTI, volumes) and LPS (DICOM, ITK)."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # right <-> left, anterior <-> posterior


def swap_lps_ras(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The affine in the other convention, mm. This function is its own inverse."""
    return FLIP @ affine


class ItkGrid(NamedTuple):
    """The grid of a volume in the form of ITK's images, LPS mm. ITK's array is transposed."""

    origin: list[float]
    spacing: list[float]
    direction: Float[np.ndarray, "3 3"]  # each column is a unit vector


def itk_grid(affine: Float[np.ndarray, "4 4"]) -> ItkGrid:
    """The grid of an affine that leads to RAS mm."""
    lps = swap_lps_ras(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    return ItkGrid(lps[:3, 3].tolist(), spacing.tolist(), lps[:3, :3] / spacing)


def itk_image(array: Shaped[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> Any:
    """A SimpleITK image of voxels whose affine leads to RAS mm."""
    import SimpleITK as sitk

    image, grid = sitk.GetImageFromArray(np.ascontiguousarray(array.T)), itk_grid(affine)
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction.ravel().tolist())
    return image
