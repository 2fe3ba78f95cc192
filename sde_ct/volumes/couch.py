"""Remove the treatment couch from a CT's tissue where the couch touches the body."""

import numpy as np
from jaxtyping import Bool, Float

THICK_MM = 80.0  # a couch is at most this thick, and a patient is thicker
WIDE_MM = 40.0  # the couch must be visible beside the body over this width
FLAT_MM = 2.5  # largest distance from the fitted surface; half a voxel is always allowed
STEADY = 0.8  # fraction of the slices that must show the surface
ROUNDS = 8  # iterations of the fit


def without_couch(
    tissue: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"]:
    """A CT's tissue without everything below the upper surface of a couch.

    Beside the body nothing covers the upper side of a couch. Unlike any part of a body, this side
    has nearly the same shape in all slices. A surface that is quadratic across the patient and
    linear along the patient is therefore fitted to it. If no such surface exists, nothing is
    removed.

    Args:
      tissue: mask whose axes are nearest to RAS+. The couch is on the posterior side, or on the
        anterior side of a prone patient.
      spacing: voxel size, mm.
    """
    for turn in (slice(None), slice(None, None, -1)):
        below = _below(tissue[:, turn], spacing)
        if below is not None:
            return tissue & ~below[:, turn]
    return tissue


def _below(
    tissue: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"] | None:
    """The voxels up to the upper surface of a couch at small y; None if no couch is found."""
    height = tissue.shape[1]
    has, low = tissue.any(axis=1), tissue.argmax(axis=1)
    top = height - 1 - tissue[:, ::-1].argmax(axis=1)
    thin = has & ((top - low + 1) * spacing[1] <= THICK_MM)
    x, z = (g / max(1, g.max()) - 0.5 for g in np.indices(has.shape))
    terms = np.stack([np.ones_like(x), x, x**2, z], axis=-1)
    surface, near = _fitted(terms, top, thin, max(FLAT_MM / spacing[1], 0.5))
    wide = near.sum(axis=0) * spacing[0] >= WIDE_MM
    if wide.sum() < STEADY * has.any(axis=0).sum():
        return None
    below = np.arange(height)[:, None] <= np.rint(surface)[:, None]
    under = has & ((surface - low + 1) * spacing[1] > THICK_MM)
    patient = (top - surface)[has].max() * spacing[1] > THICK_MM
    return below if patient and not under.any() else None


def _fitted(
    terms: Float[np.ndarray, "x z k"],
    top: np.ndarray,
    thin: Bool[np.ndarray, "x z"],
    tolerance: float,
) -> tuple[Float[np.ndarray, "x z"], Bool[np.ndarray, "x z"]]:
    """Fit a surface to the heights `top` where `thin`, and mark the heights that lie on it."""
    surface, near = np.zeros(thin.shape), thin
    if thin.any():
        near = thin & (np.abs(top - np.median(top[thin])) <= 4 * tolerance)
    for _ in range(ROUNDS):
        if near.sum() < terms.shape[-1]:
            return surface, np.zeros_like(thin)
        found = np.linalg.lstsq(terms[near], top[near], rcond=None)[0]
        surface = terms @ found
        near = thin & (np.abs(top - surface) <= tolerance)
    return surface, near
