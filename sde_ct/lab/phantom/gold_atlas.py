"""Phantom patients as DICOM in Gold Atlas's layout, with what makes such data hard to read.

A folder a patient, eight series flat in it (T. Nyholm et al., Med. Phys. 45(3):1295, 2018): native
CT, CT deformed onto the T2, T2, T1, a registration, and structure sets of five observers, their
consensus and STAPLE. Grids, series descriptions and scanners differ by site. Everything is invented
from the pelvis phantom; the numbering of patients is only as far Gold Atlas's as the literature's
split needs it.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydicom.dataset import Dataset
from skimage.measure import find_contours

from sde_ct.errors import InputError
from sde_ct.lab.phantom.dicom import (
    Invented,
    Polygon,
    images,
    registration,
    save_all,
    structures,
)
from sde_ct.lab.phantom.pelvis import (
    PhantomPatient,
    Shape3,
    Spacing,
    pelvis_patient,
    require_possible,
)
from sde_ct.lab.phantom.tissues import Tissue, spin_echo, table
from sde_ct.storage.whole import whole
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.volume import Volume

SHAPE = (96, 96, 14)  # of the T2
SPACING = (4.6, 4.6, 5.0)
RECORD = "phantom.json"
VERSION = 1  # raise it when the same seed gives other voxels
MORE = 2  # slices that the native CT sees beyond the T2, at each end
IMPLANT_HU, IMPLANT_MM = 19000, 22.0
THINNED = 3  # of the points of the consensus a person draws every so many
# Those whom the most used split names come early, and any first few are of several sites.
PATIENTS = (
    *("1_01_P", "1_03_P", "2_04_P", "3_01_P", "1_06_P", "2_11_P", "1_02_P", "2_01_P", "3_02_P"),
    *("1_04_P", "1_05_P", "2_02_P", "2_03_P", "3_03_P", "1_07_P", "1_08_P", "2_05_P", "2_06_P"),
    "3_04_P",
)
NATIVE = np.array([34.0, -52.0, 410.0])  # mm from the MR's frame to the native CT's
TURN = np.radians(2.5)  # of the patient on the CT's couch
ORGANS = {
    "Bladder": (Tissue.URINE,),
    "Femoral heads": (Tissue.FEMORAL_HEAD,),
    "Prostate": (Tissue.PROSTATE_CENTRAL, Tissue.PROSTATE_PERIPHERAL),
    "Seminal vesicles": (Tissue.SEMINAL_VESICLE,),
}


@dataclass(frozen=True)
class Site:
    """How one hospital's data look."""

    scanner: str
    t2: str  # series descriptions
    t1: str
    deformed: str
    native: str
    intercept: int  # at which CT numbers are stored
    padding: int  # HU outside the CT's field of view
    ct_radius: float  # of the deformed CT's field of view, share of the slice's width
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
    """Write patients, one folder each; those that are there already stay as they are.

    Args:
      directory: the cohort's.
      seed: of everything random; a patient depends on it, its name and the grid alone.
      patients: names, which begin with the site: 1, 2 or 3.
      shape, spacing: of the T2, voxels and mm.
      progress: wraps the names.

    Raises:
      InputError: a name with no site, a request that is out of range, or a folder that holds
        patients of another request.
    """
    root = Path(directory)
    for name in patients:
        if name[:1] not in SITES:
            raise InputError(f"patient {name!r} begins with no site: use {', '.join(SITES)}")
    require_possible(seed, shape, spacing)
    request = {"seed": seed, "shape": list(shape), "spacing_mm": list(spacing)}
    _claim(root, patients, {"version": VERSION, **request})
    for name in progress(patients):
        if not (root / name).exists():
            _write(root / name, name, seed, shape, spacing)
    return [root / name for name in patients]


def _claim(root: Path, patients: Sequence[str], record: dict[str, Any]) -> None:
    """Make the cohort's folder and say in it what it holds, which must be all that it holds."""
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
        with whole(path) as partial:
            partial.write_text(json.dumps(record) + "\n", "utf-8")


def _write(folder: Path, name: str, seed: int, shape: Shape3, spacing: Spacing) -> None:
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))
    site = SITES[name[0]]
    patient = pelvis_patient(
        int(rng.integers(2**31)), shape=(*shape[:2], shape[2] + 2 * MORE), spacing=spacing
    )
    number = int(rng.integers(10**6))
    owner = Invented(f"GA{number:06d}", f"Phantom^Nr {number:06d}")
    objects = _objects(owner, site, patient, rng)
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
    """All DICOM objects of a patient. Order of series: as in the docstring of the module."""
    implant = _implant(patient) if site.implant else np.zeros(patient.mr.array.shape, bool)
    ct = patient.ct.with_array(np.where(implant, IMPLANT_HU, patient.ct.array))
    t2 = patient.mr.with_array(np.where(implant, 0, patient.mr.array))
    t2, t1 = _slab(t2, 0), _t1(patient, implant, rng)
    radius = site.ct_radius * t2.array.shape[0]
    deformed = _round(_slab(ct, site.more), radius, site.padding)
    native, matrix = _native(ct, site)
    scanner = {"ManufacturerModelName": site.scanner}
    spin = {"ScanningSequence": "SE", "SequenceVariant": "SK"} | scanner
    t2_tags = spin | {"RepetitionTime": 6000, "EchoTime": 96}
    t1_tags = spin | {"RepetitionTime": 600, "EchoTime": 9}
    derived = scanner | {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}
    original = scanner | {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "KVP": 120}
    cut = {"intercept": site.intercept}
    bodies = {"External": _slab(patient.mask, 0)} | {
        organ: _slab(patient.mask.with_array(np.isin(patient.labels.array, tissues)), 0)
        for organ, tissues in ORGANS.items()
    }
    return [
        *images(owner, native, "CT", site.native, "CT", tags=original, **cut),
        *images(owner, deformed, "CT", site.deformed, "MR", tags=derived, **cut),
        *images(owner, _round(t2, 0.5 * t2.array.shape[0], 0), "MR", site.t2, "MR", tags=t2_tags),
        *images(owner, t1, "MR", site.t1, "MR", tags=t1_tags),
        registration(owner, "CT to MR rigid", "CT", "MR", matrix),
        *(structures(owner, s, "MR", *rois) for s, rois in _delineations(bodies, rng).items()),
    ]


def _implant(patient: PhantomPatient) -> Bool[np.ndarray, "x y z"]:
    """A ball in the femoral head that lies first along x."""
    heads = np.argwhere(patient.labels.array == Tissue.FEMORAL_HEAD)
    half = heads[heads[:, 0] < heads[:, 0].mean()]
    index = np.indices(patient.labels.array.shape).reshape(3, -1).T - half.mean(axis=0)
    distance = np.linalg.norm(index * patient.mr.spacing, axis=1)
    return (distance < IMPLANT_MM).reshape(patient.labels.array.shape)


def _slab(volume: Volume, more: int) -> Volume:
    """The T2's slices of a phantom volume, and `more` at the head's end."""
    last = volume.array.shape[2] - MORE + more
    affine = volume.affine.copy()
    affine[:3, 3] += MORE * affine[:3, 2]
    return Volume(volume.array[..., MORE:last], affine, volume.unit)


def _round(volume: Volume, radius: float, padding: float) -> Volume:
    """Only a disc of `radius` voxels holds data."""
    x, y, _ = np.ogrid[tuple(slice(n) for n in volume.array.shape)]
    centre = (np.array(volume.array.shape) - 1) / 2
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return volume.with_array(np.where(disc, volume.array, padding))


def _t1(patient: PhantomPatient, implant: np.ndarray, rng: np.random.Generator) -> Volume:
    """A T1-weighted scan of the same body on fewer and thicker slices, in the T2's frame."""
    contrast = spin_echo(table("t1"), table("t2"), table("pd"), tr=600, te=9)
    signal = np.where(implant, 0, contrast[patient.labels.array])
    signal = 2000 * np.abs(signal + rng.normal(0, 0.01, signal.shape))
    slab = _slab(patient.mr.with_array(signal), 0)
    depth = slab.array.shape[2]
    fewer = max(2, round(depth / 1.2))
    affine = slab.affine.copy()
    affine[:3, 2] *= depth / fewer
    affine[:3, 3] += (affine[:3, 2] - slab.affine[:3, 2]) / 2
    like = Volume(np.empty((*slab.array.shape[:2], fewer), np.uint8), affine, "a.u.")
    return resample_on(slab, like, fill=0)


def _native(ct: Volume, site: Site) -> tuple[Volume, Float[np.ndarray, "4 4"]]:
    """The CT as scanned, in its own frame, and the matrix that takes its RAS mm to the MR's."""
    c, s = np.cos(TURN), np.sin(TURN)
    to_mr = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    to_mr[:3, 3] = -NATIVE
    there = Volume(ct.array, np.linalg.inv(to_mr) @ ct.affine, "HU")
    size = np.array(ct.array.shape)
    spacing = ct.spacing * (1.12, 1.12, 1.2)
    count = np.maximum(2, np.ceil(size * ct.spacing / spacing)).astype(int)
    affine = np.diag([*spacing, 1.0])  # upright on the couch, whatever the MR's obliquity
    centre = there.affine @ [*(size - 1) / 2, 1]
    affine[:3, 3] = centre[:3] - spacing * (count - 1) / 2
    like = Volume(np.empty(count, np.uint8), affine, "HU")
    scan = resample_on(there, like, fill=-1000)
    return _round(scan, 0.5 * count[0], site.padding), to_mr


def _delineations(
    bodies: Mapping[str, Volume], rng: np.random.Generator
) -> dict[str, tuple[dict[str, list[Polygon]], dict[str, str]]]:
    """Structure set -> its contours by ROI and the RT type of the outlines of the body."""
    true = {name: contours(mask) for name, mask in bodies.items()}
    drawn = {}
    for observer in range(1, 6):
        share = 1 + rng.normal(0, 0.01)  # nobody draws quite the same size
        for name, polygons in true.items():
            drawn[f"{name}_obs{observer}"] = [_scaled(_thin(p), share) for p in polygons]
    external = {name: "EXTERNAL" for name in (*drawn, "External") if name.startswith("External")}
    staple = {name: [_scaled(_thin(p), 1.005) for p in polygons] for name, polygons in true.items()}
    return {
        "Observers": (drawn, external),
        "Consensus": (true, external),
        "STAPLE": (staple, external),
    }


def contours(mask: Volume) -> list[Polygon]:
    """Outlines of a mask in every slice, RAS mm, half-way between voxels inside and outside."""
    found = []
    for k in range(mask.array.shape[2]):
        plane = np.pad(mask.array[..., k].astype(np.float32), 1)
        for line in find_contours(plane, 0.5):
            index = np.column_stack([line[:-1] - 1, np.full(len(line) - 1, k)])  # closed: once
            found.append(index @ mask.affine[:3, :3].T + mask.affine[:3, 3])
    return found


def _thin(polygon: Polygon) -> Polygon:
    return polygon[::THINNED] if len(polygon) > 10 * THINNED else polygon


def _scaled(polygon: Polygon, share: float) -> Polygon:
    return polygon.mean(axis=0) + share * (polygon - polygon.mean(axis=0))
