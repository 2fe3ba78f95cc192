"""Where a scanner measured, and where a file only pads its field of view to a rectangle."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume

LEAST_AIR = -1050.0  # HU; lower values that reach a corner of a slice are padding, not air
AIR = -850.0  # HU; air is lower
AROUND = np.ones((5, 5, 1), bool)  # voxels of a body's edge, which hold air and tissue mixed
OTHER_AIR = 0.05  # of the space around the body
STEADY = 0.9  # overlap (Jaccard) of the padding of neighbouring slices


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


def measured(ct: Volume) -> Bool[np.ndarray, "x y z"]:
    """Where a CT (HU) was measured; everywhere if padding and air look alike.

    In some CTs all air was set to one value, usually -1024 HU, or cut off there: then that value
    around the body is air as well as padding. It is taken for padding only if air of other values
    exists too and if neighbouring slices have it in the same place, which cut-off noise does not.
    """
    array, inside = np.asarray(ct.array), known(ct)
    if inside.all() or array.min() < LEAST_AIR:
        return inside
    around = ~ndimage.binary_dilation(ct_body(ct).array > 0, AROUND)
    other = around & inside & (array < AIR)
    is_padding = other.sum() > OTHER_AIR * around.sum() and _is_steady(~inside)
    return inside if is_padding else np.ones_like(inside)


def _is_steady(padding: Bool[np.ndarray, "x y z"]) -> bool:
    one, next_one = padding[..., :-1], padding[..., 1:]
    both, either = ((m.sum(axis=(0, 1))) for m in (one & next_one, one | next_one))
    return not either.any() or float(np.median(both[either > 0] / either[either > 0])) >= STEADY


def moved(seen: Bool[np.ndarray, "x y z"], of: Volume, like: Volume) -> Bool[np.ndarray, "a b c"]:
    """`seen` on the grid of `like` instead of `of`: where interpolation uses nothing unseen."""
    share = resample_on(of.with_array(seen.astype(np.float32)), like, fill=0.0)
    return share.array > 1 - 1e-3
