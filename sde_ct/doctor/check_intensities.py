"""Checks of the voxels of an MR, a CT or a mask: range, grey levels, noise, units, metal."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath

import numpy as np
from scipy import ndimage

from sde_ct.data.regions.body import body_mask
from sde_ct.doctor.finding import Finding, error, refused, warning
from sde_ct.errors import InputError
from sde_ct.volumes.hounsfield import fault, has_soft_tissue, offset_of
from sde_ct.volumes.masks import inside
from sde_ct.volumes.mr import no_mr
from sde_ct.volumes.volume import Volume

WORDS = {
    "MR": {"mr", "mri", "t1", "t2", "t1w", "t2w", "flair"},
    "CT": {"ct", "sct", "cbct"},
    "mask": {"mask", "seg", "label", "labels", "body"},
}
LEVELS = 256  # grey levels of 8 bits
# Least share of the body, and least number of voxels, at the highest value of a clipped MR.
CLIPPED, PLATEAU = 1e-3, 8
RELATED = 0.3  # least correlation of neighbouring voxels; images have 0.8 or more
SNR = 12.0  # least ratio of the signal of tissue to the noise in air
CUT = 0.4  # least share of tissue on a side of the volume that is reported
METAL, METAL_CM3 = 2500, 0.5  # HU, denser than enamel; volume in cm3, larger than fillings
CEILING = 3071  # HU, the highest value that 12 bits hold
SEVERAL = 8  # least number of voxels at the ceiling that is reported


def kind_of(name: str, volume: Volume) -> str:
    """MR, CT or mask, from a word in the file's name or else from the voxels."""
    stem = PurePath(name).name.split(".")[0]
    words = set(re.split(r"[^a-z0-9]+", stem.lower()))
    named = [kind for kind, some in WORDS.items() if words & some]
    if len(named) == 1:
        return named[0]
    low, high = float(volume.array.min()), float(volume.array.max())
    if ((volume.array == low) | (volume.array == high)).all() and low != high:
        return "mask"
    return "CT" if low < -200 else "MR"


def check_intensities(volume: Volume, kind: str) -> list[Finding]:
    """Report faults in the voxels of an MR, CT or mask (`kind`).

    Voxels that are all equal or look like noise are not checked further, nor is an MR that looks
    like a CT, a mask or labels.
    """
    if kind == "mask":
        return list(_mask(volume))
    if unreadable := [*_constant(volume), *_scrambled(volume)]:
        return unreadable
    if kind == "MR":
        if problem := no_mr(volume):
            return [error(f"the MR {problem}", "give the MR")]
        body = body_mask(volume).array > 0
        checks = [_few_levels(volume)]
        checks += [check(volume, body) for check in (_clipped, _noisy, _cut) if body.any()]
    else:
        in_hu = volume.with_array(volume.array - offset_of(volume))
        checks = [_units(volume), _metal(in_hu), _saturated(in_hu)]
    return list(chain(_flat_slices(volume), *checks))


def _mask(volume: Volume) -> Iterator[Finding]:
    try:
        share = float(inside(volume.array, "the file").mean())
    except InputError as problem:
        yield refused(problem)
        return
    if share in (0, 1):
        state = "full" if share else "empty"
        fix = "give a mask of the body; without a mask, the body is computed"
        yield error(f"the mask is {state}", fix)


def _constant(volume: Volume) -> Iterator[Finding]:
    if np.ptp(volume.array) == 0:
        yield error(f"every voxel is {volume.array.flat[0]:g}", "export the images again")


def _scrambled(volume: Volume) -> Iterator[Finding]:
    """Report unrelated neighbours, a sign of a wrong byte order, size or type of voxels."""
    array = volume.array.astype(np.float64)
    related = [_correlation(array, axis) for axis in range(3) if array.shape[axis] > 2]
    if related and max(related) < RELATED:
        yield error(
            f"neighbouring voxels are unrelated (correlation {max(related):.2f}): the volume is "
            "noise, or was read in the wrong byte order, size or type",
            "export the images again",
        )


def _correlation(array: np.ndarray, axis: int) -> float:
    one, other = (np.delete(array, end, axis).ravel() for end in (0, -1))
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 1.0


def _flat_slices(volume: Volume) -> Iterator[Finding]:
    """Report slices that hold only one value.

    The slices follow each other along the axis whose spacing differs from the others, or else along
    the upward axis.
    """
    apart = np.abs(volume.spacing - np.median(volume.spacing))
    differs = apart.max() > 0.1 * np.median(volume.spacing)
    axis = int(np.argmax(apart)) if differs else _upward(volume)
    planes = np.moveaxis(volume.array, axis, 0)
    if flat := int((np.ptp(planes.reshape(len(planes), -1), axis=1) == 0).sum()):
        fix = "cut them off, or export the series again"
        yield warning(f"{flat} of {len(planes)} slices are empty", fix)


def _upward(volume: Volume) -> int:
    """The voxel axis that is nearest to the superior-inferior direction."""
    return int(np.argmax(np.abs(volume.affine[2, :3]) / volume.spacing))


def _few_levels(volume: Volume) -> Iterator[Finding]:
    values = np.unique(volume.array)
    low, high = values[0], values[-1]
    are_integers = (values == np.rint(values)).all()
    if len(values) <= LEVELS and not (are_integers and high - low >= LEVELS):
        yield warning(
            f"8-bit intensities: {len(values)} grey levels from {low:g} to {high:g}",
            "export the scanner's own values if you can; conversion to 8 bits has lost detail",
        )


def _clipped(volume: Volume, body: np.ndarray) -> Iterator[Finding]:
    top = volume.array[body] == volume.array.max()
    if top.mean() >= CLIPPED and top.sum() >= PLATEAU:
        yield warning(
            f"{100 * top.mean():.1f} % of the body is at the highest value, "
            f"{volume.array.max():g}: the signal was clipped",
            "export again without window or saturation",
        )


def _noisy(volume: Volume, body: np.ndarray) -> Iterator[Finding]:
    """Report noise, measured in air, where magnitudes have a median of 1.18 sigma (Rayleigh)."""
    air = volume.array[~ndimage.binary_dilation(body, iterations=2)]
    air = air[air > 0]  # zeros are padding and were not measured
    if air.size < 0.02 * volume.array.size:
        return
    ratio = float(np.median(volume.array[body]) / (np.median(air) / np.sqrt(2 * np.log(2))))
    if ratio < SNR:
        yield warning(
            f"noisy: the body's signal is {ratio:.0f} times the noise in air (a good scan: above "
            f"{SNR:.0f})",
            "expect a wider spread, and do not train on such images alone",
        )


def _cut(volume: Volume, body: np.ndarray) -> Iterator[Finding]:
    """Report a body that leaves the field of view at a side other than the top and the bottom."""
    sides = [np.moveaxis(body, axis, 0)[[0, -1]] for axis in {0, 1, 2} - {_upward(volume)}]
    if (most := max(side.mean() for pair in sides for side in pair)) >= CUT:
        yield warning(
            f"the field of view cuts the body: {100 * most:.0f} % of one side is tissue",
            "use images that show the whole outline",
        )


def _units(volume: Volume) -> Iterator[Finding]:
    values = f"values {volume.array.min():g} to {volume.array.max():g}"
    if wrong := fault(volume):
        yield error(f"not in HU ({values}): {wrong.what}", wrong.fix)
    elif not has_soft_tissue(volume.array):
        yield warning(f"no peak of soft tissue near 0 HU ({values})", "check the units")


def _metal(volume: Volume) -> Iterator[Finding]:
    dense, _ = ndimage.label(volume.array >= METAL)
    largest = np.bincount(dense.ravel())[1:].max(initial=0) * np.prod(volume.spacing) / 1000
    if largest >= METAL_CM3:
        yield warning(
            f"metal: {largest:.1f} cm3 above {METAL} HU (up to {volume.array.max():.0f}), an "
            "implant, with streaks around it",
            "leave the window's upper end (hu_high) as it is, and keep such patients out of the "
            "test",
        )


def _saturated(volume: Volume) -> Iterator[Finding]:
    """Report voxels at the highest value that 12 bits hold; their density may be higher."""
    count = int((volume.array == CEILING).sum())
    if volume.array.max() == CEILING and count >= SEVERAL:
        yield warning(
            f"clipped: {count} voxels at {CEILING} HU, the ceiling of 12 bits",
            "ask for the extended CT scale, or treat these voxels as metal of unknown density",
        )
