"""Where a scanner measured, and where a file only pads its field of view to a rectangle."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume

LEAST_AIR = -1050.0  # HU: what is joined to a corner and lower is no air
AIR = -850.0  # HU: air is lower
AROUND = np.ones((5, 5, 1), bool)  # voxels of a body's edge, which hold air and tissue mixed
OTHER_AIR = 0.05  # of the space around the body
STEADY = 0.9  # overlap (Jaccard) of the padding of neighbouring slices


def known(volume: Volume) -> Bool[np.ndarray, "x y z"]:
    """Where the volume's value is not that of its padding.

    Padding is the least value where it is joined, within a slice (the plane of the first two
    axes), to one of the slice's corners; air in the field of view is noisy.
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
    """Where a CT (HU) was measured; everywhere where its padding cannot be told from its air.

    In a CT whose air was set to one value, -1024 HU as a rule, or cut off there, that value around
    the body is air as well as padding. It is padding only where there is air of other values too,
    and where it lies alike in neighbouring slices, as noise that was cut off does not.
    """
    array, inside = np.asarray(ct.array), known(ct)
    if inside.all() or array.min() < LEAST_AIR:
        return inside
    around = ~ndimage.binary_dilation(ct_body(ct).array > 0, AROUND)
    other = around & inside & (array < AIR)
    told = other.sum() > OTHER_AIR * around.sum() and _is_steady(~inside)
    return inside if told else np.ones_like(inside)


def _is_steady(padding: Bool[np.ndarray, "x y z"]) -> bool:
    one, next_one = padding[..., :-1], padding[..., 1:]
    both, either = ((m.sum(axis=(0, 1))) for m in (one & next_one, one | next_one))
    return not either.any() or float(np.median(both[either > 0] / either[either > 0])) >= STEADY


def moved(seen: Bool[np.ndarray, "x y z"], of: Volume, like: Volume) -> Bool[np.ndarray, "a b c"]:
    """`seen`, on the grid of `of`, on that of `like`: where interpolation takes nothing unseen."""
    share = resample_on(of.with_array(seen.astype(np.float32)), like, fill=0.0)
    return share.array > 1 - 1e-3
