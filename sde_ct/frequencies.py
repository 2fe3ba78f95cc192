"""Bands of spatial frequency, for coefficients of the cosine transform (DCT-II) of an image."""

import numpy as np
from jaxtyping import Float, Int

FREQUENCIES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles per pixel


def shares(height: int, width: int) -> Float[np.ndarray, "frequencies h w"]:
    """The share of each coefficient in each of `FREQUENCIES`; the shares of a coefficient add to 1.

    The share of a frequency falls linearly in log f to 0 at the neighbouring frequencies. A
    coefficient below the lowest or above the highest frequency belongs to that frequency alone.
    """
    down, across = np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width)
    radial = np.maximum(np.hypot(down, across), FREQUENCIES[0])
    each = np.eye(len(FREQUENCIES))
    found = [np.interp(np.log(radial), np.log(FREQUENCIES), one) for one in each]
    return np.stack(found).astype(np.float32)


def nearest(height: int, width: int) -> Int[np.ndarray, "h w"]:
    """The index in `FREQUENCIES` of each coefficient's largest share."""
    return shares(height, width).argmax(axis=0)
