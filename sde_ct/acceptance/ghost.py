"""The strength of a displaced copy of the body, as ghosting makes it."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

MARGIN = 2  # voxels around the body, whose edge has structure of its own
LEAST = 0.02  # share of the field outside of the body, below which nothing can be said
FLOOR = 0.1  # of the mean square, so that a weak structure is not called a strong copy


def ghost(signal: Float[np.ndarray, "x y z"], bright: Bool[np.ndarray, "x y z"]) -> float:
    """How strong a copy is that is displaced by a quarter to half of the field, in plane.

    It is the largest slope, over both in-plane axes and all such displacements, of the signal
    outside of the bright body on the displaced signal. Both are compared by their local structure,
    because suppressed fat or uneven air is smooth and a copy is not.

    Args:
      signal: the MR minus the dark end of the body, a.u., on the coarse grid.
      bright: what is too bright for air beside the body.
    """
    near = ndimage.binary_dilation(bright, np.ones((3, 3, 1), bool), iterations=MARGIN)
    outside = ~near
    if outside.mean() < LEAST:
        return 0.0
    signal = np.maximum(signal, 0)
    local = signal - ndimage.gaussian_filter(signal, (1, 1, 0))
    own, least = local[outside], FLOOR * float(np.mean(local**2)) * outside.sum()
    slopes = [0.0]
    for axis in (0, 1):
        length = local.shape[axis]
        for shift in range(length // 4, length - length // 4 + 1):
            other = np.roll(local, shift, axis)[outside]
            slopes.append(float(own @ other / max(other @ other, least, 1e-9)))
    return max(slopes)
