"""Find voxels that an MR shows to be air, where a CT must show air too."""

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

# In-plane distance from anything that may not be air, because the body's outline is not exact.
MARGIN_MM = 20.0
# In plane; smoothing averages the noise of air, so that it stays below the threshold.
SMOOTHING_MM = 3.0
# Air is darker than this fraction of the way from the darkest voxels of the body to its median.
SIGNAL = 0.25


def air_around(
    mr: Float[np.ndarray, "z h w"],
    body: Shaped[np.ndarray, "z h w"],
    imaged: Bool[np.ndarray, "z h w"],
    dark: float,
    median: float,
    pixel_mm: tuple[float, float],
) -> Bool[np.ndarray, "z h w"]:
    """Voxels beside the body that are surely air, more than `MARGIN_MM` from anything else.

    Voxels with signal, such as arms outside the outline, and slices without body are left out. Rows
    below the body, above it, or within `MARGIN_MM` of its lowest and highest rows are left out too,
    because a couch may lie there that the MR does not show.

    Args:
      mr: a.u.
      body: 1 inside the body.
      imaged: true inside the MR's volume.
      dark, median: a low percentile and the median of the MR inside the body, a.u.
      pixel_mm: pixel size (y, x).
    """
    inside = np.asarray(body) > 0
    rows = np.flatnonzero(inside.any(axis=(0, 2)))
    if not len(rows):
        return np.zeros(inside.shape, bool)
    sigma = [0.0, *(SMOOTHING_MM / side for side in pixel_mm)]
    signal = ndimage.gaussian_filter(mr, sigma, mode="nearest") > dark + SIGNAL * (median - dark)
    other = inside | signal
    near = [
        ndimage.distance_transform_edt(~plane, sampling=pixel_mm) <= MARGIN_MM for plane in other
    ]
    couch = np.ceil(MARGIN_MM / pixel_mm[0])
    level = np.arange(inside.shape[1])
    beside = (level > rows[0] + couch) & (level < rows[-1] - couch)
    found = np.asarray(imaged) & ~np.stack(near) & beside[:, None]
    return found & inside.any(axis=(1, 2))[:, None, None]
