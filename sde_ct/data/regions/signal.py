"""Find slices in which an MR shows nothing, as in padding or where a slice was lost."""

import numpy as np
from jaxtyping import Bool

from sde_ct.volumes.volume import Volume, canonical, restore


def empty_slices(mr: Volume) -> Bool[np.ndarray, " z"]:
    """Whether all voxels of an axial slice are as dark as the darkest of the volume.

    Slices are counted from feet to head.
    """
    array = canonical(mr).array
    return array.max(axis=(0, 1)) == array.min()


def with_signal(mr: Volume) -> Bool[np.ndarray, "x y z"]:
    """A mask, on the grid of `mr`, of the slices that are not empty."""
    upright = canonical(mr)
    shown = np.broadcast_to(~empty_slices(mr), upright.array.shape)
    return restore(upright.with_array(shown.astype(np.uint8), "mask"), mr).array > 0


def warnings(empty: Bool[np.ndarray, " z"], consequence: str) -> list[str]:
    """A sentence on how many slices are empty, and the consequence; no sentence if none is empty.

    Args:
      empty: from `empty_slices`.
      consequence: what this means for the result; it ends the sentence.
    """
    if not empty.any():
        return []
    return [f"{empty.sum()} of {len(empty)} slices of the MR hold no signal: {consequence}"]
