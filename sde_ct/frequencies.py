"""Bands of spatial frequency, for coefficients of the cosine transform (DCT-II) of an image."""

import numpy as np
from jaxtyping import Float, Int

FREQUENCIES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)  # cycles per pixel


def shares(height: int, width: int) -> Float[np.ndarray, "frequencies h w"]:
    """How much each coefficient belongs to each of `FREQUENCIES`; the sum over these is 1.

    The share of a frequency falls linearly in log f to 0 at its neighbours. Coefficients below the
    lowest frequency belong to that one, and those above the highest to the highest.
    """
    down, across = np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width)
    radial = np.maximum(np.hypot(down, across), FREQUENCIES[0])
    each = np.eye(len(FREQUENCIES))
    found = [np.interp(np.log(radial), np.log(FREQUENCIES), one) for one in each]
    return np.stack(found).astype(np.float32)


def nearest(height: int, width: int) -> Int[np.ndarray, "h w"]:
    """The number of the frequency to which each coefficient belongs most."""
    return shares(height, width).argmax(axis=0)
