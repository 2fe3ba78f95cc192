"""Resample a volume onto another grid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from sde_ct.volumes.volume import Volume

EDGE = 0.5 + 1e-6  # a voxel extends half a step beyond its centre


def resample_on(volume: Volume, like: Volume, *, fill: float, order: int = 1) -> Volume:
    """Resample `volume` onto the grid of `like`, without smoothing.

    `order` 1 interpolates linearly, and 0 copies the nearest voxel. Voxels whose centres lie
    outside `volume` are set to `fill`.
    """
    to_index = np.linalg.inv(volume.affine) @ like.affine
    axes, start = to_index[:3, :3], to_index[:3, 3]
    array = interpolate(volume.array, axes, start, like.array.shape, fill, order)
    return like.with_array(array, volume.unit)


def interpolate(
    array: Shaped[np.ndarray, "x y z"],
    matrix: Float[np.ndarray, "*axes"],
    offset: Float[np.ndarray, "3"],
    shape: Sequence[int],
    fill: float,
    order: int = 1,
) -> Float[np.ndarray, "a b c"]:
    """Interpolate `array` at matrix @ index + offset for every index of `shape`; float32.

    A diagonal `matrix` may be given as a vector, which is faster.
    """
    out = ndimage.affine_transform(
        np.asarray(array, np.float32), matrix, offset, tuple(shape), order=order, mode="nearest"
    )
    rows = np.diag(matrix) if matrix.ndim == 1 else matrix
    steps = np.ogrid[tuple(slice(n) for n in shape)]
    for length, row, start in zip(array.shape, rows, offset, strict=True):
        # Axes that do not contribute to this index are left out, so that the arrays stay small.
        index = start + sum(
            factor * step for factor, step in zip(row, steps, strict=True) if factor
        )
        outside = (index < -EDGE) | (index > length - 1 + EDGE)
        if np.any(outside):
            out[np.broadcast_to(outside, out.shape)] = fill
    return out
