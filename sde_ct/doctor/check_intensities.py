"""The intensities of a volume of any kind: range, levels, noise."""

import re
from pathlib import PurePath

import numpy as np
from scipy import ndimage

from sde_ct.data.regions.body import body_mask
from sde_ct.doctor.finding import Finding, error, warning
from sde_ct.volumes.hounsfield import fault, has_soft_tissue, offset_of
from sde_ct.volumes.volume import Volume

Kind = str  # MR, CT or mask
WORDS = {
    "MR": {"mr", "mri", "t1", "t2", "t1w", "t2w", "flair"},
    "CT": {"ct", "sct", "cbct"},
    "mask": {"mask", "seg", "label", "labels", "body"},
}
LEVELS = 256  # of 8 bits
CLIPPED, FLAT = 1e-3, 8  # share of the body at its very maximum, and voxels at the least
RELATED = 0.3  # correlation of neighbours; images have 0.8 and more
SNR = 12.0  # tissue over the noise of air
METAL, METAL_CM3 = 2500, 0.5  # HU; denser than enamel, and more than fillings
CEILING, SEVERAL = 3071, 8  # HU, of 12 bits less 1024; voxels


def kind_of(name: str, volume: Volume) -> Kind:
    """MR, CT or mask: by a word of the file's name, else by the check_intensities."""
    stem = PurePath(name).name.split(".")[0]
    words = set(re.split(r"[^a-z0-9]+", stem.lower()))
    named = [kind for kind, some in WORDS.items() if words & some]
    if len(named) == 1:
        return named[0]
    low, high = float(volume.array.min()), float(volume.array.max())
    if ((volume.array == low) | (volume.array == high)).all() and low != high:
        return "mask"
    return "CT" if low < -200 else "MR"


def check_mr(volume: Volume) -> list[Finding]:
    """Everything an MR's voxels can tell."""
    if found := [*constant(volume), *scrambled(volume)]:
        return found
    body = body_mask(volume).array > 0
    return [
        *flat_slices(volume),
        *few_levels(volume),
        *clipped(volume, body),
        *noisy(volume, body),
        *cut(volume, body),
    ]


def check_mask(volume: Volume) -> list[Finding]:
    """A body mask is neither empty nor full."""
    share = float((volume.array != 0).mean())
    if 0 < share < 1:
        return []
    state = "empty" if share == 0 else "full"
    return [error(f"the mask is {state}", "give the body's mask, or none: it is then computed")]


def constant(volume: Volume) -> list[Finding]:
    if np.ptp(volume.array) > 0:
        return []
    value = float(volume.array.flat[0])
    return [error(f"every voxel is {value:g}", "export the images again")]


def scrambled(volume: Volume) -> list[Finding]:
    """Neighbouring voxels that have nothing in common: byte order, size or type is wrong."""
    array = volume.array.astype(np.float64)
    correlations = [_correlation(array, axis) for axis in range(3) if array.shape[axis] > 2]
    if not correlations or max(correlations) >= RELATED:
        return []
    return [
        error(
            f"neighbouring voxels are unrelated (correlation {max(correlations):.2f}): this is "
            "noise, or was read in the wrong byte order, size or type",
            "export the images again",
        )
    ]


def _correlation(array: np.ndarray, axis: int) -> float:
    one = np.take(array, range(1, array.shape[axis]), axis).ravel()
    other = np.take(array, range(array.shape[axis] - 1), axis).ravel()
    one, other = (np.argsort(np.argsort(x)) if np.abs(x).max() > 1e30 else x for x in (one, other))
    if not one.std() or not other.std():
        return 1.0
    return float(np.corrcoef(one, other)[0, 1])


def flat_slices(volume: Volume) -> list[Finding]:
    axis = _through(volume)
    planes = np.moveaxis(volume.array, axis, 0)
    flat = int((np.ptp(planes.reshape(len(planes), -1), axis=1) == 0).sum())
    if not flat:
        return []
    return [
        warning(
            f"{flat} of {len(planes)} slices are empty", "cut them off, or export the series again"
        )
    ]


def _through(volume: Volume) -> int:
    """The axis from slice to slice: the one of another spacing, else the one that leads up."""
    spacing = volume.spacing
    apart = np.abs(spacing - np.median(spacing))
    if apart.max() > 0.1 * np.median(spacing):
        return int(np.argmax(apart))
    return int(np.argmax(np.abs(volume.affine[2, :3]) / spacing))


def few_levels(volume: Volume) -> list[Finding]:
    values = np.unique(volume.array)
    low, high = values[0], values[-1]
    whole = (values == np.rint(values)).all()
    if len(values) > LEVELS or (whole and high - low >= LEVELS):
        return []
    return [
        warning(
            f"8-bit intensities: {len(values)} grey levels from {low:g} to {high:g}",
            "export from the scanner's own values where you can; what 8 bits dropped is lost",
        )
    ]


def clipped(volume: Volume, body: np.ndarray) -> list[Finding]:
    """A plateau at the brightest value inside the body."""
    if not body.any():
        return []
    top = volume.array[body] == volume.array.max()
    if top.mean() < CLIPPED or top.sum() < FLAT:
        return []
    return [
        warning(
            f"{100 * top.mean():.1f} % of the body is at the highest value, "
            f"{volume.array.max():g}: the signal was clipped",
            "export again without window or saturation",
        )
    ]


def noisy(volume: Volume, body: np.ndarray) -> list[Finding]:
    """Tissue over noise, which in magnitude images of air has a median of 1.18 sigma (Rayleigh)."""
    air = volume.array[~ndimage.binary_dilation(body, iterations=2)]
    air = air[air > 0]  # zeros are filled in, not measured
    if not body.any() or air.size < 0.02 * volume.array.size:
        return []
    ratio = float(np.median(volume.array[body]) / (np.median(air) / np.sqrt(2 * np.log(2))))
    if ratio >= SNR:
        return []
    return [
        warning(
            f"noisy: the body's signal is {ratio:.0f} times the noise in air (a good scan: above "
            f"{SNR:.0f})",
            "expect a wider spread; do not train on it alone",
        )
    ]


def cut(volume: Volume, body: np.ndarray) -> list[Finding]:
    """A body that leaves the field of view through a side."""
    axis = int(np.argmax(np.abs(volume.affine[2, :3]) / volume.spacing))  # up: may be cut
    faces = []
    for other in {0, 1, 2} - {axis}:
        sides = np.moveaxis(body, other, 0)
        faces += [sides[0].mean(), sides[-1].mean()]
    if max(faces) < 0.4:
        return []
    return [
        warning(
            f"the field of view cuts the body: {100 * max(faces):.0f} % of one side is tissue",
            "use images that show the whole outline",
        )
    ]


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
