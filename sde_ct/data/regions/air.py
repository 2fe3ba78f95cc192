"""Where an MR shows that there is air, so that a CT of it must show air too."""

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage

MARGIN_MM = 20.0  # in plane, to all that may not be air: the body's outline is not exact
SMOOTHING_MM = 3.0  # in plane: averages the noise of air below the threshold
SIGNAL = 0.25  # of the way from the darkest voxels of the body to its median: no air above it


def air_around(
    mr: Float[np.ndarray, "z h w"],
    body: Shaped[np.ndarray, "z h w"],
    imaged: Bool[np.ndarray, "z h w"],
    dark: float,
    median: float,
    pixel_mm: tuple[float, float],
) -> Bool[np.ndarray, "z h w"]:
    """Where there is surely air beside the body, `MARGIN_MM` from anything that may be another.

    Left out are whatever has signal, such as arms outside the outline, and all rows but those
    `MARGIN_MM` above the lowest and below the highest of the body, because a couch lies there that
    the MR does not show.

    Args:
      mr: a.u.
      body: 1 inside the body.
      imaged: where the MR's volume reaches.
      dark, median: of the MR inside the body, a.u.
      pixel_mm: (y, x).
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
