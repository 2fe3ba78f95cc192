"""How far apart two affines put the same array."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float


def corners_apart(
    a: Float[np.ndarray, "4 4"], b: Float[np.ndarray, "4 4"], shape: Sequence[int]
) -> float:
    """The farthest that a voxel is put apart, in the affines' unit: they differ most at a corner.

    `shape` may have any number of axes, of which the first three count.
    """
    corners = [*product(*((0, n - 1) for n in (*shape, 1, 1, 1)[:3]), (1,))]
    return float(np.linalg.norm((a - b)[:3] @ np.array(corners).T, axis=0).max())
