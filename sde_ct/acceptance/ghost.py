"""The strength of a displaced copy of the body, such as a ghosting artefact."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

MARGIN = 2  # voxels around the body, whose edge has structure of its own
LEAST = 0.02  # share of the field outside of the body, below which nothing can be said
FLOOR = 0.1  # of the mean square, so that a weak structure is not called a strong copy


def ghost(signal: Float[np.ndarray, "x y z"], bright: Bool[np.ndarray, "x y z"]) -> float:
    """The strength of a copy that is displaced in plane by a quarter to half of the field.

    It is the largest regression slope of the signal outside the bright body on the displaced
    signal, over both in-plane axes and all such displacements. Only the local structure of both
    signals counts, because suppressed fat and uneven air are smooth and a copy is not.

    Args:
      signal: the MR minus the dark end of the body, a.u., on the coarse grid.
      bright: voxels that are too bright for the air around the body.
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
