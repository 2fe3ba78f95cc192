"""Distinguish the voxels that a scanner measured from padding around its field of view."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sde_ct.volumes.fill import AIR, MOST, constant_parts, hull, plain_fill
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume, canonical, restore

# Two voxels in plane around the body are left out, because its edge voxels hold air and tissue.
AROUND = np.ones((5, 5, 1), bool)
OTHER_AIR = 0.05  # fraction of the space around the body that must hold air of other values
SOME = 0.2  # at least this fraction of a fill of air's value lies beyond the hull of the rest
HIDDEN = 0.01  # fraction of the body that a fill must hide
THICK_MM = 30.0  # side of a square that fits into a thick part of a slice


def known(volume: Volume) -> Bool[np.ndarray, "x y z"]:
    """The voxels that are not padding.

    Padding has the volume's smallest value and is connected, within a slice (the plane of the first
    two axes), to a corner of the slice. Noisy air is not padding, because its values differ.
    """
    array = np.asarray(volume.array)
    least = array == array.min()
    padding = np.zeros(array.shape, bool)
    for z in range(array.shape[2]):
        labels, _ = ndimage.label(least[..., z])
        corners = labels[[0, 0, -1, -1], [0, -1, 0, -1]]
        padding[..., z] = np.isin(labels, corners[corners > 0])
    return ~padding


def measured(ct: Volume, body: Volume | None = None) -> Bool[np.ndarray, "x y z"]:
    """The voxels of a CT (HU) that were measured and not filled with a constant (see `fill`).

    A constant near the HU of air, usually -1024 or -1000 HU, may be a fill or real air, because in
    some CTs all air was set to one value or clipped at it. The constant is a fill if air around the
    body has other values too, and if enough of its voxels (`SOME`) lie beyond the convex hull of
    all other voxels. Clipped noise does not lie beyond this hull.

    Args:
      body: mask on the CT's grid, from another image. With it, a constant near the HU of air is a
        fill only if it hides some of the body. If all air has this constant value, only hidden
        parts that are thick in plane are a fill, because thin ones may come from an inexact
        outline.
    """
    upright = canonical(ct)
    hu = np.rint(np.asarray(upright.array, np.float32))
    seen = ~plain_fill(hu)
    like_air = [p for v, p in constant_parts(hu) if v <= AIR and (p & seen).any()]
    if like_air:
        shown = ct_body(upright).array > 0
        around = ~ndimage.binary_dilation(shown, AROUND) & shown.any(axis=(0, 1))
        outline = np.zeros_like(shown) if body is None else canonical(body).array > 0
    for part in like_air:
        beyond = part & ~hull(seen & ~part)
        other = around & seen & ~part & (hu < AIR)
        hidden = beyond & outline
        if other.sum() <= OTHER_AIR * (around & seen).sum():
            seen &= ~_thick(hidden, upright.spacing)
        elif beyond.sum() >= SOME * part.sum() and (
            body is None or hidden.sum() > HIDDEN * outline.sum()
        ):
            seen &= ~(part if beyond.sum() >= MOST * part.sum() else beyond)
    return restore(upright.with_array(seen), ct).array


def _thick(
    mask: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"]:
    """The parts of a mask that hold an in-plane square of side `THICK_MM`, with their edges."""
    size = (*(2 * round(THICK_MM / step / 2) + 1 for step in spacing[:2]), 1)
    thick = ndimage.minimum_filter(mask, size, mode="constant")
    return mask & ndimage.maximum_filter(thick, [2 * n - 1 for n in size])


def moved(seen: Bool[np.ndarray, "x y z"], of: Volume, like: Volume) -> Bool[np.ndarray, "a b c"]:
    """The voxels of `like` that are interpolated from `seen` voxels of `of` alone."""
    share = resample_on(of.with_array(seen.astype(np.float32)), like, fill=0.0)
    return share.array > 1 - 1e-3
