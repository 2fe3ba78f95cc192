"""Resample a volume onto straight axial slices, for planning systems that refuse tilted ones."""

from itertools import product

import numpy as np

from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume, left_posterior_superior

OUTSIDE_HU = -1024.0  # for voxels outside the volume
ROUNDING = 1e-3  # voxels; rounding in a header must not add a slice, row or column to the grid


def on_axial_slices(volume: Volume) -> Volume:
    """Interpolate HU linearly onto the smallest axial grid that contains the whole volume.

    Pixels are square. Their side is the smaller of the voxel sizes along the two axes that run
    across the patient, and the slices are as far apart as the voxels along the third axis. The grid
    is centred on the volume, so that a volume in straight axial slices of square pixels keeps its
    grid.
    """
    near = left_posterior_superior(volume)
    step = np.array([near.spacing[:2].min()] * 2 + [near.spacing[2]])
    ends = [*product(*((0, n - 1) for n in near.array.shape), (1,))]
    corners = (swap_lps_ras(near.affine) @ np.array(ends).T)[:3]
    low, high = corners.min(axis=1), corners.max(axis=1)
    shape = np.ceil((high - low) / step - ROUNDING).astype(int) + 1
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = (low + high - step * (shape - 1)) / 2
    like = Volume(np.broadcast_to(np.uint8(0), shape), swap_lps_ras(affine), "mask")
    return resample_on(near, like, fill=OUTSIDE_HU)
