"""Where a scanner measured, and where a file only pads its field of view to a rectangle."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from sde_ct.volumes.fill import AIR, LEAST_AIR, MOST, constant_parts, hull, plain_fill
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume, canonical, restore

__all__ = ["AIR", "LEAST_AIR", "known", "measured", "moved"]
AROUND = np.ones((5, 5, 1), bool)  # voxels of a body's edge, which hold air and tissue mixed
OTHER_AIR = 0.05  # of the space around the body
SOME = 0.2  # of a constant part lies beyond the hull of the rest if it holds a fill beside air
HIDDEN = 0.01  # of a body
THICK_MM = 30.0


def known(volume: Volume) -> Bool[np.ndarray, "x y z"]:
    """Where the volume's value is not that of its padding.

    Padding has the volume's least value and is connected, within a slice (the plane of the first
    two axes), to a corner of the slice. Air in the field of view is noisy.
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
    """Where a CT (HU) was measured, and where it is only filled with a constant (see `fill`).

    A constant like air, usually -1024 or -1000 HU, may be air as well: in some CTs all air was set
    to one value, or cut off there. It is a fill if other air exists around the body and if it lies
    beyond the convex hull of the rest, as noise that was cut off does not.

    Args:
      body: mask on the CT's grid, from another image. A constant like air is then a fill only where
        it hides some of the body. Where all air has that value too, those parts of the body
        count that are too thick in plane for an outline that is wide or out of place.
    """
    upright = canonical(ct)
    hu = np.rint(np.asarray(upright.array, np.float32))
    seen = ~plain_fill(hu)
    like_air = [p for v, p in constant_parts(hu) if v <= AIR and (p & seen).any()]
    if like_air:
        shown = ct_body(upright).array > 0
        around = ~ndimage.binary_dilation(shown, AROUND) & shown.any(axis=(0, 1))
        outline = shown & False if body is None else canonical(body).array > 0
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
    """The parts of a mask in which a square of `THICK_MM` fits in plane, with their edges."""
    size = (*(2 * round(THICK_MM / step / 2) + 1 for step in spacing[:2]), 1)
    thick = ndimage.minimum_filter(mask, size, mode="constant")
    return mask & ndimage.maximum_filter(thick, [2 * n - 1 for n in size])


def moved(seen: Bool[np.ndarray, "x y z"], of: Volume, like: Volume) -> Bool[np.ndarray, "a b c"]:
    """`seen` on the grid of `like` instead of `of`: where interpolation uses nothing unseen."""
    share = resample_on(of.with_array(seen.astype(np.float32)), like, fill=0.0)
    return share.array > 1 - 1e-3
