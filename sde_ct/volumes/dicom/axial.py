"""A volume on straight axial slices, for planning systems that refuse tilted ones."""

from itertools import product

import numpy as np

from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume, left_posterior_superior

OUTSIDE_HU = -1024.0  # where the volume does not reach
ROUNDING = 1e-3  # of a voxel: the grid does not grow by one because of a header's rounding


def on_axial_slices(volume: Volume) -> Volume:
    """The HU, interpolated linearly, on the smallest grid along the patient's axes that holds all.

    Pixels are square, with the smaller side of the volume's voxels in the axial plane; slices are
    as far apart as its voxels along the axis nearest to the patient's. The grid is centred on the
    volume, so that a volume in straight axial slices of square pixels is returned as it is.
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
