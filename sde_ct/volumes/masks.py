"""Find the voxels that a mask marks, and classify the voxels of a CT by tissue."""

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.errors import InputError

AIR_BELOW = -200.0  # HU; gas and lung lie below, and fat, near -100, is soft tissue
BONE_ABOVE = 200.0  # HU; cortical and dense trabecular bone lie above
ROUNDING = 1e-3  # fraction of a mask's range; a mask of only smaller values is empty
MOST_LABEL = 200  # whole numbers up to this one are labels; an interpolated 8-bit mask reaches 255

CtVolume = Float[np.ndarray, "x y z"]
Mask = Bool[np.ndarray, "x y z"]


def inside(array: np.ndarray, name: str) -> Mask:
    """The voxels that the mask in a file marks; errors call the file `name`.

    If the file holds two values, within rounding, the higher one marks the inside. An interpolated
    mask, from 0 to its maximum, is thresholded at half its maximum. In a file with only one value,
    0 marks no voxel, and any other value marks every voxel.

    Raises:
        InputError: the values are not those of a mask, but for example several labels.
    """
    array = np.asarray(array, np.float32)
    low, high = float(array.min()), float(array.max())
    middle, rounding = (low + high) / 2, ROUNDING * (high - low)
    if max(abs(low), abs(high)) < ROUNDING or low == high:
        return np.full(array.shape, abs(high) >= ROUNDING)
    between = (array > low + rounding) & (array < high - rounding)
    if not between.any():
        return array > middle
    labels = high <= MOST_LABEL and np.all(array == np.rint(array))
    share = array / high if high > 0 else np.zeros_like(array)
    edge = (share > 0.25) & (share < 0.75)
    if labels or high <= 0 or low < -0.25 * high or edge.sum() >= (share >= 0.75).sum():
        raise InputError(
            f"{name} is not a mask, because its voxels hold more than two values, from {low:g} to "
            f"{high:g}: write 1 inside and 0 outside"
        )
    return share > 0.5


def as_mask(mask: np.ndarray, ct: np.ndarray, **volumes: np.ndarray) -> Mask:
    """The mask as booleans. Raises InputError if no metric can be computed in it."""
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
    """The voxels with the HU of `air`, `soft` tissue and `bone`; every voxel has one class."""
    air, bone = hu < AIR_BELOW, hu > BONE_ABOVE
    return {"air": air, "soft": ~air & ~bone, "bone": bone}
