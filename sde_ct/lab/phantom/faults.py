"""Twenty faults that the acceptance check must refuse, each with the right first reasons."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from sde_ct.lab.phantom.other_parts import head, positions, thighs
from sde_ct.lab.phantom.pelvis import PhantomPatient
from sde_ct.lab.phantom.tissues import Tissue
from sde_ct.volumes.volume import Volume


class Fault(NamedTuple):
    """One of `reasons` must come first in the verdict; `mr` makes a patient's MR faulty."""

    reasons: tuple[str, ...]  # of `acceptance.features.REASONS`
    # None if the synthesis has the fault, or if another phantom has it.
    mr: Callable[[PhantomPatient], Volume] | None


def _changed(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[PhantomPatient], Volume]:
    return lambda patient: patient.mr.with_array(change(patient.mr.array).astype(np.float32))


def _fat_suppressed(patient: PhantomPatient) -> Volume:
    fat = np.isin(patient.labels.array, [Tissue.FAT, Tissue.FATTY_MARROW, Tissue.FEMORAL_HEAD])
    return patient.mr.with_array(np.where(fat, 0.12 * patient.mr.array, patient.mr.array))


def _t1(patient: PhantomPatient) -> Volume:
    if patient.t1 is None:
        raise ValueError("the phantom has no T1-weighted MR")
    return patient.t1


def _coarser(patient: PhantomPatient) -> Volume:
    """Voxels 1.5 times as large in plane."""
    mr = patient.mr
    image = ndimage.zoom(mr.array, (1 / 1.5, 1 / 1.5, 1), order=1, grid_mode=True, mode="nearest")
    factor = [*(a / b for a, b in zip(mr.array.shape, image.shape, strict=True)), 1]
    return Volume(image, mr.affine @ np.diag(factor), "a.u.")


def _implant(patient: PhantomPatient) -> Volume:
    """A hip joint without signal, with bright distortion around it."""
    mr = patient.mr
    x, y, z = positions(mr)
    radius = np.sqrt((x - 85) ** 2 + (y + 5) ** 2 + z**2)
    bright = np.where((radius >= 40) & (radius < 47), 1.6, 1.0)
    return mr.with_array(np.where(radius < 40, 0.01, bright) * mr.array)


def _ghosts(image: np.ndarray) -> np.ndarray:
    return image + 0.3 * np.roll(image, image.shape[1] // 3, axis=1)


def _bias(image: np.ndarray) -> np.ndarray:
    return image * np.exp(np.linspace(0, np.log(20), image.shape[1]))[:, None]


def _noise(image: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    channels = 0.12 * np.percentile(image, 99) * rng.normal(size=(2, *image.shape))
    return np.hypot(image + channels[0], channels[1])


def _zoomed(image: np.ndarray) -> np.ndarray:
    middle = (np.array(image.shape) - 1) / 2
    scale = np.array([1 / 1.3, 1 / 1.3, 1])
    return ndimage.affine_transform(image, scale, middle - scale * middle, order=1)


def _empty(image: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[..., -2:] = 0
    return image


def _shifted(image: np.ndarray) -> np.ndarray:
    """A patient so far off the centre that the field of view cuts a quarter of the image off."""
    far = image.shape[0] // 4
    return np.pad(image, ((0, far), (0, 0), (0, 0)), "edge")[far:]


def _swapped(patient: PhantomPatient) -> Volume:
    """The MR turned by 15 degrees and shifted, as by registration to another patient."""
    image, middle = patient.mr.array, (np.array(patient.mr.array.shape) - 1) / 2
    c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    offset = middle - turn @ middle + np.array([9, -5, 0])
    return patient.mr.with_array(ndimage.affine_transform(image, turn, offset, order=1))


def _as_mr(patient: PhantomPatient) -> Volume:
    """The CT without its rescale intercept of -1024, given as an MR."""
    return Volume(patient.ct.array + np.float32(1024), patient.ct.affine, "a.u.")


SETTINGS, DRAWS = "few evaluations", "failed draws"  # faults of the synthesis
SCANNER = "another scanner"  # the MR is acquired by scanner B
FAULTS = {
    "fat-suppressed": Fault(("contrast",), _fat_suppressed),
    "T1-weighted": Fault(("contrast",), _t1),
    "prone": Fault(("orientation",), _changed(lambda a: a[::-1, ::-1])),
    "upside down": Fault(("orientation", "anatomy"), _changed(lambda a: a[..., ::-1])),
    "head": Fault(("body", "anatomy"), lambda patient: head(patient.mr, 0)),
    "other spacing": Fault(("grid",), _coarser),
    "cut off": Fault(("truncated",), _changed(_shifted)),
    "implant": Fault(("implant",), _implant),
    "ghosting at 30 %": Fault(("artefact",), _changed(_ghosts)),
    "bias field 20:1": Fault(("uneven",), _changed(_bias)),
    "CT without intercept": Fault(("contrast",), _as_mr),
    SETTINGS: Fault(("settings",), None),
    DRAWS: Fault(("draws",), None),
    "noise": Fault(("noise",), _changed(_noise)),
    "zoomed by 1.3": Fault(("body", "truncated"), _changed(_zoomed)),
    "mirrored": Fault(("orientation",), _changed(lambda a: a[::-1])),
    "empty slices": Fault(("empty",), _changed(_empty)),
    SCANNER: Fault(("contrast", "uneven", "noise"), None),
    "registration target swapped": Fault(("truncated", "anatomy", "orientation"), _swapped),
    "thighs": Fault(("body", "anatomy"), lambda patient: thighs(patient.mr, 0)),
}
