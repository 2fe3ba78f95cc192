"""The couch below a patient, where it touches the body and seems to be a part of it."""

import numpy as np
from jaxtyping import Bool, Float

THICK_MM = 80.0  # of a couch at most; a patient is thicker
WIDE_MM = 40.0  # of the surface that must be seen beside the body
FLAT_MM = 2.5  # from the fitted surface, or half a voxel where that is more
STEADY = 0.8  # of the slices must show the surface
ROUNDS = 8  # of the fit


def without_couch(
    tissue: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"]:
    """A CT's tissue without what lies below a couch's upper surface.

    Beside the body, the upper side of a couch is seen from above. It is nearly the same in all
    slices, which no part of a body is: a surface of second order across and of first order along
    the patient is fitted to it. Nothing is removed where no such surface is found.

    Args:
      tissue: axes nearest to RAS+; the couch lies on the posterior side, or on the anterior one
        of a prone patient.
      spacing: mm.
    """
    for turn in (slice(None), slice(None, None, -1)):
        below = _below(tissue[:, turn], spacing)
        if below is not None:
            return tissue & ~below[:, turn]
    return tissue


def _below(
    tissue: Bool[np.ndarray, "x y z"], spacing: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "x y z"] | None:
    """What lies below the upper surface of a couch that lies at small y; None without a couch."""
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
    """The surface through most of the heights `top` where `thin`, and where they lie on it."""
    surface, near = np.zeros(thin.shape), thin
    if thin.any():
        surface = np.full(thin.shape, np.median(top[thin]))
        near = thin & (np.abs(top - surface) <= 4 * tolerance)
    for _ in range(ROUNDS):
        if near.sum() < terms.shape[-1]:
            return surface, np.zeros_like(thin)
        found = np.linalg.lstsq(terms[near], top[near], rcond=None)[0]
        surface = terms @ found
        near = thin & (np.abs(top - surface) <= tolerance)
    return surface, near
