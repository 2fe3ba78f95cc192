"""The body outline of an MR volume, for patients that come without a mask."""

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_multiotsu, threshold_otsu

from sde_ct.volumes.volume import Volume, canonical, restore

SMOOTHING_MM = 1.0  # in plane: averages the noise of air below the threshold
CLOSING_MM = 6.0  # in plane: bridges dark skin, cortical bone and gas that opens to the outside
BRIGHT_PERCENTILE = 99.0  # fat near a coil must not draw the threshold into the tissue


def body_mask(mr: Volume) -> Volume:
    """1 inside the body, 0 in the air around it, as uint8 on the grid of `mr`.

    The lower of Otsu's thresholds for three classes (air, dim and bright tissue; IEEE Trans. SMC
    9(1):62, 1979) on the square root of the smoothed signal, the largest connected component,
    then closing and hole filling in every axial slice, so that gas, bone and marrow inside the
    outline belong to the body. Empty where `mr` is constant.
    """
    upright = canonical(mr)
    foreground = _foreground(np.asarray(upright.array, np.float32), upright.spacing)
    if foreground.any():
        foreground = _largest_component(foreground)
        foreground = _fill_axial(foreground, upright.spacing)
        foreground = _largest_component(foreground)
    return restore(upright.with_array(foreground.astype(np.uint8), "mask"), mr)


def _foreground(signal: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    sigma = (SMOOTHING_MM / spacing[0], SMOOTHING_MM / spacing[1], 0.0)
    smooth = ndimage.gaussian_filter(signal, sigma, mode="nearest")
    smooth = smooth - smooth.min()
    # The root narrows the bright tail, which holds fat and fluid but says nothing about air.
    smooth = np.sqrt(np.minimum(smooth, np.percentile(smooth, BRIGHT_PERCENTILE)))
    if smooth.max() == smooth.min():
        return np.zeros(signal.shape, bool)
    try:
        # Flat: a volume of three or four slices would be taken for a coloured image.
        return smooth > threshold_multiotsu(smooth.ravel(), classes=3)[0]
    except ValueError:  # fewer than three grey values
        return smooth > threshold_otsu(smooth)


def _largest_component(mask: np.ndarray) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def _fill_axial(mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Close and fill each axial slice; `mask` is [x, y, z]."""
    return np.stack([_close(mask[..., z], spacing[:2]) for z in range(mask.shape[2])], axis=-1)


def _close(plane: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    # Closing with a disc of CLOSING_MM by two distance maps: its cost does not grow with the disc.
    margin = tuple(int(np.ceil(CLOSING_MM / step)) + 1 for step in spacing)
    padded = np.pad(plane, [(m, m) for m in margin])
    if not padded.any():
        return plane
    near = ndimage.distance_transform_edt(~padded, sampling=spacing) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(near, sampling=spacing) > CLOSING_MM
    filled = ndimage.binary_fill_holes(closed | padded)
    return filled[margin[0] : -margin[0], margin[1] : -margin[1]]
