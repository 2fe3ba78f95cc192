"""Outline the body in a CT, and measure its overlap with another mask."""

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from sde_ct.volumes.couch import without_couch
from sde_ct.volumes.fill import plain_fill
from sde_ct.volumes.volume import Volume, canonical, restore

TISSUE_ABOVE = -400.0  # HU, between air (-1000) and fat (about -100)


def ct_body(ct: Volume) -> Volume:
    """The body in a CT, as a mask on the CT's grid, with holes in axial slices filled.

    The body is the largest connected region above `TISSUE_ABOVE`, without a fill such as 0 HU (see
    `fill`) and without a couch (see `couch`). The mask is empty if there is no such region.
    """
    upright = canonical(ct)
    tissue = (np.asarray(upright.array) > TISSUE_ABOVE) & ~plain_fill(upright.array)
    if tissue.any():
        tissue = _largest(without_couch(_largest(tissue), upright.spacing))
        planes = [ndimage.binary_fill_holes(tissue[..., z]) for z in range(tissue.shape[2])]
        tissue = np.stack(planes, axis=-1)
    return restore(upright.with_array(tissue.astype(np.uint8), "mask"), ct)


def _largest(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    labels, _ = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


def dice(a: Shaped[np.ndarray, "..."], b: Shaped[np.ndarray, "..."]) -> float:
    """Dice of two masks of one shape, 2 |A ∩ B| / (|A| + |B|); 0 if both are empty."""
    a, b = a > 0, b > 0
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0
