"""The geometry of a volume: what of it cannot be true, or can no longer be."""

import numpy as np
from scipy import ndimage

from sde_ct.data.regions.body import body_mask
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.volume import Volume, same_grid

VOXEL_MM = (0.05, 25.0)  # what a scanner, or a phantom of this package, may have
BODY_MM = (40.0, 2500.0)  # extent in plane
SHEAR = 0.01  # cosine between axes that should be perpendicular; 0.6 degrees
DICE = 0.92  # of the bodies, in the field of view of both
SHIFT_MM = 5.0  # between the bodies' centres; a voxel at the least
BOTH = 0.2  # of the MR's body that the CT must show


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


def overlap(mr: Volume, ct: Volume) -> list[Finding]:
    """Bodies compared on the MR's grid, in the part of space that both show.

    Args:
      mr: a.u.
      ct: HU; another grid will do.
    """
    found = [] if same_grid(mr, ct.with_array(ct.array, mr.unit)) else [_other_grid()]
    in_mr = body_mask(mr).array > 0
    in_ct, seen = (_on_grid(mask, ct, mr) for mask in (ct_body(ct).array, measured(ct)))
    if (in_mr & seen).sum() < BOTH * in_mr.sum() or not (in_ct & seen).any():
        what = "MR and CT show no common part of the body"
        return [*found, error(what, "register the CT to the MR, or pair the right files")]
    a, b = in_mr & seen, in_ct & seen
    likeness = dice(a, b)
    apart = np.subtract(*(ndimage.center_of_mass(x) for x in (b, a)))
    shift = float(np.linalg.norm(mr.affine[:3, :3] @ apart))
    if likeness >= DICE and shift <= max(SHIFT_MM, mr.spacing.max() / 2):
        return found
    return [
        *found,
        warning(
            f"MR and CT look misregistered: Dice of the bodies {likeness:.2f} (good: above "
            f"{DICE}), centres {shift:.1f} mm apart",
            "register the CT to the MR and look at the result",
        ),
    ]


def _other_grid() -> Finding:
    return error("MR and CT lie on different grids", "resample the CT on the MR's grid")


def _on_grid(mask: np.ndarray, of: Volume, like: Volume) -> np.ndarray:
    """A mask on another grid, nearest voxel; nothing outside its own."""
    there = np.linalg.inv(of.affine) @ like.affine
    shape = like.array.shape
    moved = ndimage.affine_transform(
        mask.astype(np.uint8), there[:3, :3], there[:3, 3], shape, order=0, cval=0
    )
    return moved > 0
