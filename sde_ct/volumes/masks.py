"""Masks over a CT, and the tissue classes of its voxels."""

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.errors import InputError

AIR_BELOW = -200.0  # HU: gas and lung; fat, near -100, stays soft tissue
BONE_ABOVE = 200.0  # HU: cortical and dense trabecular bone

CtVolume = Float[np.ndarray, "x y z"]
Mask = Bool[np.ndarray, "x y z"]


def as_mask(mask: np.ndarray, ct: np.ndarray, **volumes: np.ndarray) -> Mask:
    """The mask as booleans. Raises InputError where no metric could be computed in it."""
    mask = np.asarray(mask) > 0
    for name, volume in {"mask": mask, **volumes}.items():
        if volume.shape != ct.shape:
            raise InputError(
                f"The {name} has shape {volume.shape} and the reference CT {ct.shape}: "
                "resample it onto the reference's grid."
            )
    if not mask.any():
        raise InputError("The mask is empty: give one that marks the body with values above 0.")
    for name, volume in {"reference CT": ct, **volumes}.items():
        if not np.isfinite(volume[mask]).all():
            raise InputError(
                f"The {name} holds NaN or infinite voxels inside the mask: repair them or leave "
                "them out of the mask."
            )
    return mask


def tissues(hu: Float[np.ndarray, "*d"]) -> dict[str, Bool[np.ndarray, "*d"]]:
    """Where the HU are those of `air`, `soft` tissue and `bone`; every voxel has one class."""
    air, bone = hu < AIR_BELOW, hu > BONE_ABOVE
    return {"air": air, "soft": ~air & ~bone, "bone": bone}
