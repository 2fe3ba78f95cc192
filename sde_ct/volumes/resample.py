"""A volume on another grid."""

import numpy as np
from scipy import ndimage

from sde_ct.volumes.volume import Volume


def resample_on(volume: Volume, like: Volume, *, fill: float, order: int = 1) -> Volume:
    """The voxels of `volume` at the places of those of `like`; nothing is smoothed.

    Args:
      volume: any grid.
      like: its shape and affine are taken.
      fill: the value of places more than half a voxel outside `volume`.
      order: of the interpolating spline; 0 takes the nearest voxel.
    """
    to_index = np.linalg.inv(volume.affine) @ like.affine
    array = ndimage.affine_transform(
        np.asarray(volume.array, np.float32),
        to_index[:3, :3],
        to_index[:3, 3],
        output_shape=like.array.shape,
        order=order,
        mode="nearest",
    )
    grid = np.ogrid[tuple(slice(n) for n in like.array.shape)]
    for axis, length in enumerate(volume.array.shape):
        a, b, c, d = to_index[axis]
        index = a * grid[0] + b * grid[1] + c * grid[2] + d
        array[(index < -0.5) | (index > length - 0.5)] = fill
    return Volume(array, like.affine, volume.unit)
