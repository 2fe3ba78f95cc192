"""Phantom patients as DICOM in the layout of Gold Atlas, with its irregularities.

Each patient is a flat folder of eight series (T. Nyholm et al., Med. Phys. 45(3):1295, 2018): the
native CT, the CT deformed onto the T2, T2, T1, a registration, and structure sets of five
observers, their consensus and STAPLE. Grids, series descriptions and scanners differ between sites.
All voxels and contours come from the pelvis phantom. Patients are named as in Gold Atlas, so that
the split used in the literature applies.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydicom.dataset import Dataset

from sde_ct.errors import InputError
from sde_ct.lab.phantom import pelvis
from sde_ct.lab.phantom.cohort import RECORD
from sde_ct.lab.phantom.delineations import delineations
from sde_ct.lab.phantom.dicom import Invented, images, registration, save_all
from sde_ct.lab.phantom.pelvis import PhantomPatient, Shape3, Spacing
from sde_ct.lab.phantom.tissues import Tissue, spin_echo, table
from sde_ct.storage.whole import write_json
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume

SHAPE = (96, 96, 14)  # of the T2
SPACING = (4.6, 4.6, 5.0)
VERSION = 1  # raise this number when the same seed gives other voxels
MORE = 2  # slices of the native CT beyond each end of the T2
IMPLANT_HU, IMPLANT_MM = 19000, 22.0
# The first six cover all sites and the test set of the literature, so a small cohort does too.
PATIENTS = tuple(
    f"{name}_P"
    for name in "1_01 1_03 2_04 3_01 1_06 2_11 1_02 2_01 3_02 1_04 1_05 2_02 2_03 3_03 1_07 1_08 "
    "2_05 2_06 3_04".split()
)
NATIVE = np.array([34.0, -52.0, 410.0])  # mm, translation from the MR's frame to the native CT's
TURN = np.radians(2.5)  # rotation of the patient on the CT's couch


class Site(NamedTuple):
    """The properties of one hospital's data."""

    scanner: str
    t2: str  # series descriptions
    t1: str
    deformed: str
    native: str
    intercept: int  # RescaleIntercept of the CTs
    padding: int  # HU outside the CT's field of view
    ct_radius: float  # radius of the deformed CT's field of view, in slice widths
    more: int  # slices of the deformed CT beyond the T2's
    implant: bool


SITES = {
    "1": Site("A", "t2_tse_tra", "t1_tse_tra", "CTtoMR DIR", "Pelvis", -1024, -1024, 0.5, 0, False),
    "2": Site("B", "T2 prop", "T1 FSE", "CTtoMR DIR", "BONE", 0, -2000, 0.36, 1, False),
    "3": Site("C", "ax", "ax 2", "deformed", "CT pelvis", -1024, -1024, 0.5, -1, True),
}


def write_gold_atlas(
    directory: str | os.PathLike,
    seed: int,
    *,
    patients: Sequence[str] = PATIENTS,
    shape: Shape3 = SHAPE,
    spacing: Spacing = SPACING,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> list[Path]:
    """Write one folder for each patient that is missing; complete ones are kept.

    Args:
      seed: a patient depends only on this seed, the patient's name and the grid.
      patients: names that begin with the site, 1, 2 or 3.
      shape, spacing: of the T2, voxels and mm.
      progress: wraps the names, e.g. `tqdm.tqdm`.

    Raises:
      InputError: a name without a site, an argument out of range, or a folder with patients of
        another seed or grid.
    """
    root = Path(directory)
    for name in patients:
        if name[:1] not in SITES:
            raise InputError(f"patient {name!r} begins with no site: use {', '.join(SITES)}")
    pelvis.require_possible(seed, shape, spacing)
    request = {"seed": seed, "shape": list(shape), "spacing_mm": list(spacing)}
    _claim(root, patients, {"version": VERSION, **request})
    for name in progress(patients):
        if not (root / name).exists():
            _write(root / name, name, seed, shape, spacing)
    return [root / name for name in patients]


def _claim(root: Path, patients: Sequence[str], record: dict[str, Any]) -> None:
    """Make the cohort's folder with its record, or refuse a folder with a different record."""
    path = root / RECORD
    try:
        same = json.loads(path.read_text("utf-8")) == record
    except FileNotFoundError:
        same = not any((root / name).exists() for name in patients)
    except (OSError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"{root} holds patients of another seed or grid: choose an empty folder or remove them"
        )
    root.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_json(path, record)


def _write(folder: Path, name: str, seed: int, shape: Shape3, spacing: Spacing) -> None:
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))
    larger = (*shape[:2], shape[2] + 2 * MORE)
    patient = pelvis.pelvis_patient(int(rng.integers(2**31)), shape=larger, spacing=spacing)
    number = int(rng.integers(10**6))
    owner = Invented(f"GA{number:06d}", f"Phantom^Nr {number:06d}")
    objects = _objects(owner, SITES[name[0]], patient, rng)
    partial = folder.with_name(f".{name}-{os.getpid()}")
    try:
        partial.mkdir()
        save_all(partial, objects, rng.permutation(len(objects)) + 1)  # type: ignore[arg-type]
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _objects(
    owner: Invented, site: Site, patient: PhantomPatient, rng: np.random.Generator
) -> list[Dataset]:
    """All DICOM objects of a patient, in the order of the module's docstring."""
    implant = _implant(patient) if site.implant else np.zeros(patient.mr.array.shape, bool)
    ct = patient.ct.with_array(np.where(implant, IMPLANT_HU, patient.ct.array))
    t2 = _slab(patient.mr.with_array(np.where(implant, 0, patient.mr.array)))
    t1 = _t1(patient, implant, rng)
    width = t2.array.shape[0]
    deformed = _round(_slab(ct, site.more), site.ct_radius * width, site.padding)
    native, matrix = _native(ct, site)
    scanner = {"ManufacturerModelName": site.scanner}
    spin = {"ScanningSequence": "SE", "SequenceVariant": "SK"} | scanner
    t2_tags = spin | {"RepetitionTime": 6000, "EchoTime": 96}
    t1_tags = spin | {"RepetitionTime": 600, "EchoTime": 9}
    derived = scanner | {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}
    original = scanner | {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": 120}
    return [
        *images(owner, native, "CT", site.native, "CT", tags=original, intercept=site.intercept),
        *images(owner, deformed, "CT", site.deformed, "MR", tags=derived, intercept=site.intercept),
        *images(owner, _round(t2, 0.5 * width, 0), "MR", site.t2, "MR", tags=t2_tags),
        *images(owner, t1, "MR", site.t1, "MR", tags=t1_tags),
        registration(owner, "CT to MR rigid", "CT", "MR", matrix),
        *delineations(owner, _slab(patient.labels), rng),
    ]


def _implant(patient: PhantomPatient) -> Bool[np.ndarray, "x y z"]:
    """A ball in the femoral head with the lower x."""
    shape = patient.labels.array.shape
    heads = np.argwhere(patient.labels.array == Tissue.FEMORAL_HEAD)
    centre = heads[heads[:, 0] < heads[:, 0].mean()].mean(axis=0)
    offset = (np.indices(shape).reshape(3, -1).T - centre) * patient.mr.spacing
    return (np.linalg.norm(offset, axis=1) < IMPLANT_MM).reshape(shape)


def _slab(volume: Volume, more: int = 0) -> Volume:
    """The part of a phantom volume that the T2 shows, and `more` slices at its superior end."""
    last = volume.array.shape[2] - MORE + more
    affine = volume.affine.copy()
    affine[:3, 3] += MORE * affine[:3, 2]
    return Volume(volume.array[..., MORE:last], affine, volume.unit)


def _round(volume: Volume, radius: float, padding: float) -> Volume:
    """Keep a disc of `radius` voxels in every slice and fill the rest with `padding`."""
    x, y, _ = np.ogrid[tuple(slice(n) for n in volume.array.shape)]
    centre = (np.array(volume.array.shape) - 1) / 2
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return volume.with_array(np.where(disc, volume.array, padding))


def _t1(patient: PhantomPatient, implant: np.ndarray, rng: np.random.Generator) -> Volume:
    """A T1-weighted scan of the same body in the T2's frame, on fewer and thicker slices."""
    contrast = spin_echo(table("t1"), table("t2"), table("pd"), tr=600, te=9)
    signal = np.where(implant, 0, contrast[patient.labels.array])
    signal = 2000 * np.abs(signal + rng.normal(0, 0.01, signal.shape))
    slab = _slab(patient.mr.with_array(signal))
    *plane, depth = slab.array.shape
    fewer = max(2, round(depth / 1.2))
    affine = slab.affine.copy()
    affine[:3, 2] *= depth / fewer
    affine[:3, 3] += (affine[:3, 2] - slab.affine[:3, 2]) / 2
    return resample_on(slab, Volume(np.empty((*plane, fewer), np.uint8), affine, "a.u."), fill=0)


def _native(ct: Volume, site: Site) -> tuple[Volume, Float[np.ndarray, "4 4"]]:
    """The CT as scanned, in its own frame, and the matrix from its RAS mm to the MR's."""
    c, s = np.cos(TURN), np.sin(TURN)
    to_mr = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    to_mr[:3, 3] = -NATIVE
    there = Volume(ct.array, np.linalg.inv(to_mr) @ ct.affine, "HU")
    size = np.array(ct.array.shape)
    spacing = ct.spacing * (1.12, 1.12, 1.2)
    count = np.maximum(2, np.ceil(size * ct.spacing / spacing)).astype(int)
    affine = np.diag([*spacing, 1.0])  # upright on the couch, however oblique the MR is
    centre = there.affine @ [*(size - 1) / 2, 1]
    affine[:3, 3] = centre[:3] - spacing * (count - 1) / 2
    scan = resample_on(there, Volume(np.empty(count, np.uint8), affine, "HU"), fill=-1000)
    return _round(scan, 0.5 * count[0], site.padding), to_mr
