"""The order and position of the slices in which a volume is written."""

import hashlib

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.identity import Identity
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import (
    CORNER_MM,
    Volume,
    corners_apart,
    is_perpendicular,
    left_posterior_superior,
    reordered,
)

SHEAR = 1e-3  # cosine between axes; a smaller one is rounding in headers
TILT = 1.0  # degrees; slices that are tilted by more are not called axial
SQUARE = 1e-3  # relative difference of a pixel's sides; a smaller one is rounding

Stack = tuple[
    Shaped[np.ndarray, "columns rows slices"],
    Float[np.ndarray, "4 4"],  # affine to LPS mm
    tuple[tuple[str, ...], ...],  # the MR's slice at each position, if the MR is DICOM
]


def stacked(volume: Volume, identity: Identity, name: str) -> Stack:
    """The voxels as slices along their normal; errors call the output `name`.

    Raises:
      InputError: voxels are not finite, the grid is not the MR's, or the axes are not
        perpendicular.
    """
    if not np.isfinite(volume.array).all():
        raise InputError(f"{name} is not written: the volume holds voxels that are not finite")
    volume = reordered(volume, identity.affine)
    shape = volume.array.shape
    same_depth = len(identity.sources) in (0, shape[2])
    if not same_depth or corners_apart(volume.affine, identity.affine, shape) > CORNER_MM:
        raise InputError(
            f"{name} is not written: it does not lie on the MR's grid; resample it to the MR"
        )
    require_perpendicular(volume, name)
    # The MR's own affine replaces that of the volume, which a file may have rounded.
    volume = Volume(volume.array, identity.affine, volume.unit)
    if not identity.sources:
        volume = left_posterior_superior(volume)
    array, sources = volume.array, identity.sources
    affine = swap_lps_ras(volume.affine)
    if np.linalg.det(affine[:3, :3]) < 0:  # the last axis points against the normal of the others
        array, sources = array[..., ::-1], sources[::-1]
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    return array, affine, sources


def require_perpendicular(volume: Volume, name: str) -> None:
    """Refuse a grid that no series of DICOM slices can have; errors call the volume `name`."""
    if not is_perpendicular(volume.affine, SHEAR):
        raise InputError(
            f"{name} is not written as DICOM: its axes are not perpendicular; resample it"
        )


def place_hash(affine: Float[np.ndarray, "4 4"]) -> str:
    """A hash of an affine, in hex; rounding in the affine does not change it."""
    # Adding 0.0 turns -0.0 into 0.0.
    return hashlib.sha256((np.round(affine, 6) + 0.0).tobytes()).hexdigest()


def plane(affine: Float[np.ndarray, "4 4"]) -> str:
    """The third value of ImageType for slices along the last axis: AXIAL or REFORMATTED.

    AXIAL slices are nearest to axial, and every voxel axis is within `TILT` of a patient axis.
    """
    return "AXIAL" if _is_near_axial(affine) and _tilt(affine) < TILT else "REFORMATTED"


def _is_near_axial(affine: Float[np.ndarray, "4 4"]) -> bool:
    """Whether slices along the last axis are nearer to axial than to sagittal or coronal."""
    return int(np.abs(affine[:3, 2]).argmax()) == 2


def _tilt(affine: Float[np.ndarray, "4 4"]) -> float:
    """The largest angle between a voxel axis and the patient axis nearest to it, degrees."""
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)).max(axis=0)
    return float(np.degrees(np.arccos(min(1.0, cosines.min()))))


def _advice(axial: bool) -> str:
    if axial:
        return "for a planning system that refuses such slices, use the axial series beside them"
    return (
        "for a planning system that refuses such slices, give --dicom_axial, which also writes "
        "straight axial slices"
    )


def slice_notes(identity: Identity, axial: bool = False) -> list[str]:
    """What a planner should know about the written slices.

    `axial`: whether straight axial slices are written too.
    """
    notes = []
    if identity.sources and not _is_near_axial(identity.affine):
        notes.append(
            "The MR's slices are not axial, and neither are those of the new CT series (ImageType "
            f"REFORMATTED): {_advice(axial)}."
        )
    elif (tilt := _tilt(identity.affine)) >= TILT:
        notes.append(
            f"The slices of the new CT series are turned by {tilt:.1f} degrees, as the MR's are "
            f"(ImageType REFORMATTED): {_advice(axial)}."
        )
    spacing = np.linalg.norm(identity.affine[:3, :3], axis=0)
    if not identity.sources:  # the slices will be axial, with rows along the axis nearest to left
        spacing = spacing[np.argsort(nib.io_orientation(identity.affine)[:, 0])]
    if abs(spacing[0] / spacing[1] - 1) > SQUARE:
        notes.append(
            f"The pixels of the new CT series are {spacing[0]:.3g} by {spacing[1]:.3g} mm: if a "
            "planning system accepts only square pixels, resample the MR to square pixels "
            "and synthesize it again."
        )
    return notes
