"""The one place where coordinates change between RAS (NIfTI, volumes) and LPS (DICOM, ITK)."""

import numpy as np
from jaxtyping import Float

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])  # right <-> left, anterior <-> posterior


def swap_lps_ras(affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """The affine in the other convention, mm; its own inverse."""
    return FLIP @ affine
