"""The intensities of a CT: whether they are HU, and what in them is no tissue."""

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from sde_ct.data.volume import Volume
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.doctor.voxels import constant, flat_slices, scrambled

AIR, TISSUE = -850, (-150, 150)  # HU: below is air; where soft tissue has its peak
OFFSETS = (1024, 1000)  # at which unsigned CT numbers are stored
LIKELY, SHARE = 4000, 0.02  # HU; above lies metal, which is no large part of anybody
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
    array, low, high = volume.array, float(volume.array.min()), float(volume.array.max())
    if low >= -1.5 and high <= 1.5:
        return [error(f"values {low:g} to {high:g}: scaled to a unit range, not HU", _ORIGINAL)]
    beyond = float((array > LIKELY).mean())
    if beyond > SHARE:
        what = f"{100 * beyond:.0f} % of the voxels are above {LIKELY}: not HU, or damaged"
        return [error(what, _ORIGINAL)]
    if _has_peaks(array):
        return []
    if offset := offset_of(volume):
        return [
            error(
                f"values look like HU + {offset} with intercept 0 ({low:g} to {high:g})",
                f"subtract {offset}, or set the rescale intercept to -{offset}",
            )
        ]
    if low >= 0:
        return [error(f"values {low:g} to {high:g}: no air, so not HU", _ORIGINAL)]
    return [
        warning(f"no peak of soft tissue near 0 HU (values {low:g} to {high:g})", "check the units")
    ]


_ORIGINAL = "give the original CT in HU"


def offset_of(volume: Volume) -> int:
    """What must be subtracted to give HU: 0 where it looks like HU, or like nothing known."""
    if volume.array.min() < 0:
        return 0
    return next((offset for offset in OFFSETS if _has_peaks(volume.array - offset)), 0)


def _has_peaks(hu: Float[np.ndarray, "*d"]) -> bool:
    """Soft tissue is what most voxels above fat are; what is called air must be there too."""
    soft = np.histogram(hu, bins=np.arange(-300, 1500, 25))
    peak = soft[1][np.argmax(soft[0])] + 12.5
    return TISSUE[0] <= peak <= TISSUE[1] and bool((hu < AIR).any())


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
