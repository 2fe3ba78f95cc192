"""A volume: an array of voxels, its position in the patient and its unit."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int16, Shaped

Unit = Literal["HU", "a.u.", "mask"]  # CT, MR (arbitrary units), 0/1

GRID_TOLERANCE = 1e-4  # mm and direction cosines; smaller differences are rounding in file headers
# An error of `GRID_TOLERANCE` in the cosines moves the far corner of 450 x 450 x 250 mm by up to
# 0.2 mm. Grids that are really different differ by half a voxel or more.
CORNER_MM = 0.2


@dataclass(frozen=True)
class Volume:
    """Voxels [x, y, z] with `affine` taking voxel indices to RAS+ millimetres."""

    array: Shaped[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    unit: Unit
    space: int = 1  # NIfTI's sform_code for the space of `affine`; 1 is the scanner's

    @property
    def spacing(self) -> Float[np.ndarray, "3"]:
        """Voxel size along each array axis, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    def with_array(self, array: np.ndarray, unit: Unit | None = None) -> "Volume":
        """A volume with the same position but other voxels."""
        return replace(self, array=array, unit=unit or self.unit)


def corners_apart(
    a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"], shape: Sequence[int]
) -> float:
    """The largest distance between the positions that two affines give a voxel, in their unit.

    The distance is largest at a corner. Only the first three axes of `shape` count.
    """
    corners = [*product(*((0, n - 1) for n in (*shape, 1, 1, 1)[:3]), (1,))]
    return float(np.linalg.norm((a - b)[:3] @ np.array(corners).T, axis=0).max())


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether two volumes have the same shape and affine, up to rounding in file headers."""
    shape = a.array.shape
    return shape == b.array.shape and corners_apart(a.affine, b.affine, shape) <= CORNER_MM


def apart(a: Volume, b: Volume) -> str:
    """How the grids of two volumes differ, for a message."""
    if a.array.shape != b.array.shape:
        return f"shapes {a.array.shape} and {b.array.shape}"
    return f"corners {corners_apart(a.affine, b.affine, a.array.shape):.3g} mm apart"


def is_perpendicular(affine: Float[np.ndarray, "4 4"], tolerance: float) -> bool:
    """Whether the cosine between any two axes of voxels is at most `tolerance`."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() <= tolerance)


def reordered(volume: Volume, affine: Float[np.ndarray, "4 4"]) -> Volume:
    """Flip and swap the axes, without interpolation, to bring them closest to those of `affine`.

    Files may store the same voxels in different orders, as do a DICOM series and the NIfTI file
    that dcm2niix makes of it. If one of two such volumes is reordered to the affine of the other,
    their arrays are equal.
    """
    orientation = nib.orientations.io_orientation(np.linalg.inv(affine) @ volume.affine)
    array = nib.orientations.apply_orientation(volume.array, orientation)
    place = volume.affine @ nib.orientations.inv_ornt_aff(orientation, volume.array.shape)
    return replace(volume, array=np.asarray(array), affine=place)


def canonical(volume: Volume) -> Volume:
    """Flip and swap the axes, without interpolation, to bring them closest to RAS+."""
    return reordered(volume, np.eye(4))


def restore(volume: Volume, like: Volume) -> Volume:
    """Undo `canonical(like)`: the voxels of `volume` in the order of axes of `like`."""
    back = nib.orientations.ornt_transform(
        np.stack([np.arange(3), np.ones(3)], axis=1), nib.orientations.io_orientation(like.affine)
    )
    array = nib.orientations.apply_orientation(volume.array, back)
    return like.with_array(np.asarray(array), volume.unit)


def left_posterior_superior(volume: Volume) -> Volume:
    """Flip and swap the axes, without interpolation, to bring them closest to LPS+.

    DICOM's axial slices have this order of voxels: first row anterior, first column right.
    """
    return reordered(volume, np.diag([-1.0, -1.0, 1.0, 1.0]))


def rounded_hu(array: Shaped[np.ndarray, "*n"]) -> Int16[np.ndarray, "*n"]:
    """HU as files hold them: rounded, clipped to int16."""
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(array), limits.min, limits.max).astype(np.int16)


def voxel_sha256(array: Shaped[np.ndarray, "x y z"]) -> str:
    """SHA-256, in hex, of shape and values (little-endian float32, last axis fastest).

    The hash identifies voxels whatever file holds them.
    """
    digest = hashlib.sha256(repr(tuple(array.shape)).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
