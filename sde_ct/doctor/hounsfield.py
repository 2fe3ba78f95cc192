"""The intensities of a CT: whether they are HU, and what in them is no tissue."""

import numpy as np
from scipy import ndimage

from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.doctor.voxels import constant, flat_slices, scrambled
from sde_ct.volumes.hounsfield import fault, has_soft_tissue, offset_of
from sde_ct.volumes.volume import Volume

METAL, METAL_CM3 = 2500, 0.5  # HU; denser than enamel, and more than fillings
CEILING, SEVERAL = 3071, 8  # HU, of 12 bits less 1024; voxels


def check_ct(volume: Volume) -> list[Finding]:
    """Everything a CT's voxels can tell."""
    if found := [*constant(volume), *scrambled(volume)]:
        return found
    in_hu = volume.with_array(volume.array - offset_of(volume))
    return [*units(volume), *flat_slices(volume), *metal(in_hu), *saturated(in_hu)]


def units(volume: Volume) -> list[Finding]:
    """Whether a CT is in HU, and at what offset or scale it is instead."""
    values = f"values {volume.array.min():g} to {volume.array.max():g}"
    if wrong := fault(volume):
        return [error(f"not in HU ({values}): {wrong.what}", wrong.mend)]
    if has_soft_tissue(volume.array):
        return []
    return [warning(f"no peak of soft tissue near 0 HU ({values})", "check the units")]


def saturated(volume: Volume) -> list[Finding]:
    """Densities beyond the 12 bits of an ordinary CT, which are all written as one."""
    count = int((volume.array == CEILING).sum())
    if volume.array.max() != CEILING or count < SEVERAL:
        return []
    return [
        warning(
            f"clipped: {count} voxels at {CEILING} HU, the ceiling of 12 bits",
            "ask for the extended CT scale, or take them for metal of unknown density",
        )
    ]


def metal(volume: Volume) -> list[Finding]:
    dense, count = ndimage.label(volume.array >= METAL)
    if not count:
        return []
    largest = np.bincount(dense.ravel())[1:].max() * np.prod(volume.spacing) / 1000
    if largest < METAL_CM3:
        return []
    return [
        warning(
            f"metal: {largest:.1f} cm3 above {METAL} HU (up to {volume.array.max():.0f}), an "
            "implant, with streaks around it",
            "keep the window's upper end (hu_high) as it is, and such patients out of the test",
        )
    ]
