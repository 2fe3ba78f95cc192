"""The part of a mask that lies far from all voxels outside it."""

import numpy as np
from jaxtyping import Bool
from scipy import ndimage


def eroded(
    mask: Bool[np.ndarray, "x y z"], voxel: np.ndarray, mm: float
) -> Bool[np.ndarray, "x y z"]:
    """The voxels of a mask whose in-plane distance to all voxels outside it exceeds `mm`."""
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)), "edge")
    far = [
        plane if plane.all() else ndimage.distance_transform_edt(plane, sampling=voxel[:2]) > mm
        for plane in np.moveaxis(padded, 2, 0)
    ]
    return np.stack(far, axis=-1)[1:-1, 1:-1]
