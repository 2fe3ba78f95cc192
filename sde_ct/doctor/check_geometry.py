"""Checks of a volume's geometry, and of the alignment of an MR with its CT."""

from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from sde_ct.data.preparation.case import LEAST_OVERLAP
from sde_ct.data.regions.body import body_mask
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume, reordered, same_grid

VOXEL_MM = (0.05, 25.0)  # smallest and largest voxels of scanners and of this package's phantoms
BODY_MM = (40.0, 2500.0)  # least extent along the second-longest axis, and largest along any
SHEAR = 0.01  # largest cosine of the angle between two voxel axes: 0.6 degrees off a right angle
SHIFT_MM = 5.0  # largest distance between the bodies' centres, or half a voxel if that is larger
COMMON = 0.2  # least share of the MR's body that the CT must have measured


def check_geometry(volume: Volume) -> list[Finding]:
    """Report faults in spacing, extent, axes and origin."""
    return [*_size(volume), *_axes(volume), *_origin(volume)]


def _size(volume: Volume) -> Iterator[Finding]:
    spacing, extent = volume.spacing, volume.spacing * volume.array.shape
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        what = f"no scanner makes voxels of {millimetres(spacing)}"
        yield error(what, "write the spacing in mm in the header")
    elif sorted(extent)[1] < BODY_MM[0] or extent.max() > BODY_MM[1]:
        what = f"the volume measures {millimetres(np.rint(extent))}, which no body has"
        yield warning(what, "check spacing and unit")
    if (least := min(volume.array.shape)) < 3:
        yield warning(f"an axis has {least} voxels", "give a volume of more slices")


def _axes(volume: Volume) -> Iterator[Finding]:
    unit = volume.affine[:3, :3] / volume.spacing
    if (cosine := np.abs(unit.T @ unit - np.eye(3)).max()) > SHEAR:
        degrees = np.degrees(np.arcsin(min(1.0, cosine)))
        yield warning(
            f"voxel axes are {degrees:.1f} degrees off a right angle (gantry tilt or shear)",
            "resample onto perpendicular axes",
        )


def _origin(volume: Volume) -> Iterator[Finding]:
    """Report an origin of 0 with straight axes, a sign that a converter lost the geometry."""
    straight = np.count_nonzero(np.abs(volume.affine[:3, :3]) > 1e-6) == 3
    if straight and np.abs(volume.affine[:3, 3]).max() <= 1e-6:
        yield warning(
            "the first voxel lies at exactly (0, 0, 0) along straight axes: the position in the "
            "patient looks made up, and left and right cannot be distinguished",
            "convert from the original DICOM, or compare with an image whose left and right are "
            "known",
        )


def check_alignment(mr: Volume, ct: Volume) -> Iterator[Finding]:
    """Compare the bodies in an MR (a.u.) and a CT (HU, on any grid) where the CT was measured."""
    if not same_grid(mr, reordered(ct, mr.affine)):
        yield error("MR and CT lie on different grids", "prepare with --register=rigid")
    in_mr = body_mask(mr).array > 0
    in_ct, both = (
        resample_on(ct.with_array(mask), mr, fill=0.0, order=0).array > 0
        for mask in (ct_body(ct).array, measured(ct))
    )
    a, b = in_mr & both, in_ct & both
    if a.sum() < COMMON * in_mr.sum() or not b.any():
        what = "MR and CT show no common part of the body"
        yield error(what, "prepare with --register=rigid, or pair the right files")
        return
    overlap = dice(a, b)
    apart = np.subtract(*(ndimage.center_of_mass(mask) for mask in (b, a)))
    shift = float(np.linalg.norm(mr.affine[:3, :3] @ apart))
    if overlap < LEAST_OVERLAP or shift > max(SHIFT_MM, mr.spacing.max() / 2):
        yield warning(
            f"MR and CT look misregistered: Dice of the bodies {overlap:.2f} (good: above "
            f"{LEAST_OVERLAP}), centres {shift:.1f} mm apart",
            "register the CT to the MR and look at the result",
        )


def millimetres(sizes: np.ndarray) -> str:
    """Sizes as in "1 x 1 x 2.5 mm"."""
    return " x ".join(f"{s:.4g}" for s in sizes) + " mm"
