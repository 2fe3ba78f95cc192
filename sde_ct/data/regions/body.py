"""Outline the body in an MR volume, for patients without a mask."""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from sde_ct.data.regions.signal import empty_slices
from sde_ct.volumes.volume import Volume, canonical, restore

# In plane; smoothing averages the noise of air, so that it stays below the threshold.
SMOOTHING_MM = 1.0
# In plane; closing bridges dark skin, cortical bone and gas that opens to the outside.
CLOSING_MM = 6.0
# Brighter voxels are clipped, because fat near a coil must not raise the threshold into tissue.
BRIGHT_PERCENTILE = 99.0


def body_mask(mr: Volume) -> Volume:
    """A mask (uint8) on the grid of `mr`: 1 inside the body, 0 in the air around it.

    The smoothed signal's square root is thresholded at the lower of Otsu's thresholds for three
    classes (air, dim and bright tissue; IEEE Trans. SMC 9(1):62, 1979). The largest connected
    component is kept. Closing and filling of holes in every axial slice then add gas, bone and
    marrow inside the outline. The mask is empty if `mr` is constant. Slices without signal are left
    out, so that one of them does not cut the body in two.
    """
    upright = canonical(mr)
    body = _foreground(np.asarray(upright.array, np.float32), upright.spacing)
    if body.any():
        shown = ~empty_slices(mr)
        largest = np.moveaxis(_largest_component(body[..., shown]), 2, 0)
        closed = [_close(plane, upright.spacing[:2]) for plane in largest]
        body[..., shown] = _largest_component(np.stack(closed, axis=-1))
    return restore(upright.with_array(body.astype(np.uint8), "mask"), mr)


def _foreground(signal: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    sigma = (SMOOTHING_MM / spacing[0], SMOOTHING_MM / spacing[1], 0.0)
    smooth = ndimage.gaussian_filter(signal, sigma, mode="nearest")
    smooth = smooth - smooth.min()
    # The square root shortens the bright tail of fat and fluid, which says nothing about air.
    smooth = np.sqrt(np.minimum(smooth, np.percentile(smooth, BRIGHT_PERCENTILE)))
    if smooth.max() == smooth.min():
        return np.zeros(signal.shape, bool)
    try:
        # The array is flattened, because scikit-image would treat three or four slices as colour
        # channels.
        return smooth > threshold_multiotsu(smooth.ravel(), classes=3)[0]
    except ValueError:  # there are fewer than three grey values
        return smooth > threshold_otsu(smooth)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _close(plane: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Close an axial slice [x, y] and fill its holes."""
    # Two distance maps close with a disc of CLOSING_MM, at a cost that does not grow with the disc.
    margin = tuple(int(np.ceil(CLOSING_MM / step)) + 1 for step in spacing)
    padded = np.pad(plane, [(m, m) for m in margin])
    if not padded.any():
        return plane
    near = ndimage.distance_transform_edt(~padded, sampling=spacing) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(near, sampling=spacing) > CLOSING_MM
    filled = ndimage.binary_fill_holes(closed | padded)
    return filled[margin[0] : -margin[0], margin[1] : -margin[1]]
