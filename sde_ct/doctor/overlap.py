"""Whether the MR and the CT of a patient lie on each other."""

import numpy as np
from scipy import ndimage

from sde_ct.data.regions.body import body_mask
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.volume import Volume, same_grid

DICE = 0.92  # of the bodies, in the field of view of both
SHIFT_MM = 5.0  # between the bodies' centres; a voxel at the least
BOTH = 0.2  # of the MR's body that the CT must show


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
