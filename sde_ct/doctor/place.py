"""The geometry of a volume: what of it cannot be true, or can no longer be."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.corners import corners_apart
from sde_ct.volumes.volume import Volume

VOXEL_MM = (0.05, 25.0)  # what a scanner, or a phantom of this package, may have
BODY_MM = (40.0, 2500.0)  # extent in plane
AGREE_MM = 0.1  # two places in one header
SHEAR = 0.01  # cosine between axes that should be perpendicular; 0.6 degrees


def place(volume: Volume) -> list[Finding]:
    """Spacing, extent, origin and axes."""
    return [*_size(volume), *_axes(volume), *_origin(volume)]


def _size(volume: Volume) -> list[Finding]:
    spacing, extent = volume.spacing, volume.spacing * volume.array.shape
    found = []
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        shown = " x ".join(f"{s:.3g}" for s in spacing)
        found.append(
            error(f"voxels of {shown} mm are no scanner's", "write the spacing in mm in the header")
        )
    elif sorted(extent)[1] < BODY_MM[0] or extent.max() > BODY_MM[1]:
        shown = " x ".join(f"{s:.0f}" for s in extent)
        found.append(
            warning(f"the volume measures {shown} mm, no body's size", "check spacing and unit")
        )
    if min(volume.array.shape) < 3:
        found.append(
            warning(f"an axis has {min(volume.array.shape)} voxels", "give a volume of more slices")
        )
    return found


def _axes(volume: Volume) -> list[Finding]:
    unit = volume.affine[:3, :3] / volume.spacing
    cosine = np.abs(unit.T @ unit - np.eye(3)).max()
    if cosine <= SHEAR:
        return []
    degrees = np.degrees(np.arcsin(min(1.0, cosine)))
    return [
        warning(
            f"voxel axes are {degrees:.1f} degrees off a right angle (gantry tilt or shear)",
            "resample onto perpendicular axes",
        )
    ]


def _origin(volume: Volume) -> list[Finding]:
    """A converter that knows no place writes the first voxel at 0 and the axes straight."""
    straight = np.count_nonzero(np.abs(volume.affine[:3, :3]) > 1e-6) == 3
    if not straight or np.abs(volume.affine[:3, 3]).max() > 1e-6:
        return []
    return [
        warning(
            "the first voxel lies at exactly (0, 0, 0) along straight axes: the place in the "
            "patient looks made up, and left and right cannot be told",
            "convert from the original DICOM, or compare with an image of known sides",
        )
    ]


def nifti_header(path: Path) -> list[Finding]:
    """The two places that a NIfTI header may give; one of them is read, others read the other."""
    header: Any = nib.load(path).header
    sform, qform = header.get_sform(coded=True), header.get_qform(coded=True)
    if not sform[1] or not qform[1]:
        return []
    apart = corners_apart(sform[0], qform[0], header.get_data_shape())
    if apart <= AGREE_MM:
        return []
    return [
        warning(
            f"sform and qform disagree by up to {apart:.3g} mm; the sform is used here, the qform "
            "by other tools",
            "write one geometry to both",
        )
    ]
