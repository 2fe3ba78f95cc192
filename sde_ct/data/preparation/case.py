"""One patient -> its slices, its record and its picture, in a folder of its own."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from sde_ct.data.body import body_mask
from sde_ct.data.field_of_view import measured
from sde_ct.data.files import write_volume
from sde_ct.data.fingerprint import voxel_sha256
from sde_ct.data.grid import to_slices
from sde_ct.data.inputs import CutMR, cut_mr
from sde_ct.data.overlap import ct_body, dice
from sde_ct.data.preparation.picture import overview
from sde_ct.data.preparation.registration import Kind, register
from sde_ct.data.prepared import DTYPES
from sde_ct.data.sources.patient import Patient, Source
from sde_ct.data.volume import Volume, same_grid
from sde_ct.data.whole import whole
from sde_ct.errors import InputError

HU = (-1024, 3071)  # what 12 bits hold: below lies padding, above metal
RECORD = "case.json"
LEAST_OVERLAP = 0.9  # Dice of the bodies; aligned scans of one patient reach more, as a rule
LEAST_INSIDE = 0.999  # of the body's voxels, within the slices


@dataclass(frozen=True)
class Settings:
    """What is done to every patient alike."""

    spacing: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    crop_to_body: bool = False
    register: Kind | None = None  # CT to MR
    pictures: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def kept(case: Source, output: Path, settings: Settings) -> dict[str, Any] | None:
    """The record of a patient prepared before from the same files; None where it is to be done."""
    try:
        folder = output / "cases" / case.id
        values = json.loads((folder / RECORD).read_text("utf-8"))
        record, size = values["record"], values["record"]["grid"]["size"]
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in DTYPES]
        complete = all(list(array.shape) == size for array in arrays)
        drawn = not settings.pictures or picture_of(output, case.id).is_file()
        return record if complete and drawn and values["stamp"] == case.stamp() else None
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def attempt(case: Source, output: Path, settings: Settings) -> dict[str, Any] | str:
    """The record of the patient, or the reason why it is refused; nothing half-written stays."""
    try:
        return prepare_case(case, output, settings)
    except InputError as error:
        return str(error)


def prepare_case(case: Source, output: Path, settings: Settings) -> dict[str, Any]:
    """Write `output`/cases/ID, whole or not at all, and return its record.

    The folder holds the slices (see `prepared`), `case.json`, and MR, CT and mask as NIfTI where
    they are not a file's own voxels.

    Raises InputError with the reason where the patient is unusable.
    """
    stamp = case.stamp()
    patient = _aligned(case.read(), settings.register)
    record, cut, hu = _sliced(patient, settings)
    folder = output / "cases" / case.id
    partial = folder.with_name(f".{case.id}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        arrays = {"mr": cut.mr, "ct": hu, "mask": cut.mask}
        for name, dtype in DTYPES.items():
            np.save(partial / f"{name}.npy", arrays[name].astype(dtype), allow_pickle=False)
        record["files"] |= _copies(patient, partial, folder.relative_to(output))
        (partial / RECORD).write_text(json.dumps({"stamp": stamp, "record": record}), "utf-8")
        if settings.pictures:
            _draw(picture_of(output, case.id), case.id, cut, hu)
        _replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def picture_of(output: Path, name: str) -> Path:
    return output / "qc" / f"{name}.png"


def _aligned(patient: Patient, kind: Kind | None) -> Patient:
    """The patient with CT and mask on the MR's grid, registered where that is asked for.

    Its mask is the body where both scanners measured it.
    """
    _require_same_grid(patient, "mask")
    moves = kind is not None and not patient.registered
    if patient.registered is False and not moves:
        raise InputError(
            f"the CT is not registered to the MR ({patient.chosen.get('ct', 'nothing says so')}): "
            "give --register=deformable or --register=rigid"
        )
    if not moves:
        _require_same_grid(patient, "ct")
    body = body_mask(patient.mr) if patient.mask is None else patient.mask
    if not body.array.any():
        raise InputError(f"{patient.files['mr']} has an empty body mask: give another MR or mask")
    if moves:
        return _registered(patient, body, kind)  # type: ignore[arg-type]
    if kind:
        told = {"registration": "none: the CT is deformed onto the MR already"}
        patient = patient._replace(chosen={**patient.chosen, **told})
    return _masked(patient, body, measured(patient.ct) if patient.seen is None else patient.seen)


def _registered(patient: Patient, body: Volume, kind: Kind) -> Patient:
    ct, there, _, quality = register(patient.ct, patient.mr, body, kind)
    warnings = list(patient.warnings)
    if quality.get("least_jacobian", 1.0) <= 0:
        warnings.append("the deformation folds (Jacobian at most 0): look at the picture")
    if "kept" in quality:
        warnings.append(f"{kind} registration raised no mutual information: {quality['kept']} kept")
    patient = patient._replace(
        ct=ct,
        copies=patient.copies | {"ct"},
        facts={**patient.facts, "registration": quality},
        warnings=tuple(warnings),
    )
    return _masked(patient, body, there if patient.seen is None else there & patient.seen)


def _masked(patient: Patient, body: Volume, seen: Bool[np.ndarray, "x y z"]) -> Patient:
    """The patient with the part of its body that was `seen` as mask."""
    inside = (body.array > 0) & seen
    if not inside.any():
        raise InputError(
            f"{patient.files['ct']} shows nothing of the MR's body: register it, or pair the right "
            "files"
        )
    lost = int((body.array > 0).sum()) - int(inside.sum())
    share = round(lost / (lost + int(inside.sum())), 4)
    told = {"mask": "computed" if patient.mask is None else "given"}
    warned = f"{100 * share:.1f} % of the body lie outside a field of view: masked"
    return patient._replace(
        mask=body.with_array(inside.astype(np.uint8)),
        copies=patient.copies | ({"mask"} if lost else set()),
        facts={**told, **patient.facts, "body_outside_field_of_view": share},
        warnings=(*patient.warnings, *([warned] if share else [])),
    )


def _require_same_grid(patient: Patient, kind: str) -> None:
    volume: Volume | None = getattr(patient, kind)
    if volume is None or same_grid(volume, patient.mr):
        return
    if volume.array.shape != patient.mr.array.shape:
        what = f"shape {volume.array.shape} against {patient.mr.array.shape}"
    else:
        gap = float(np.abs(volume.affine - patient.mr.affine).max())
        what = f"affines that differ by up to {gap:.3g}"
    path, mr = patient.files[kind], patient.files["mr"]
    mend = " or give --register" if kind == "ct" else ""
    raise InputError(
        f"{path} and {mr} lie on different grids ({what}): resample {path.name} on the MR's{mend}"  # type: ignore[union-attr]
    )


def _sliced(patient: Patient, settings: Settings) -> tuple[dict[str, Any], CutMR, np.ndarray]:
    """The record, the slices of MR and mask, and those of the CT in whole HU."""
    mr, ct, size = patient.mr, patient.ct, settings.size
    cut = cut_mr(
        mr,
        patient.mask,
        spacing=settings.spacing,
        size=size,
        crop=size is not None,
        about_body=settings.crop_to_body,
        name=str(patient.files["mr"]),
    )
    if not cut.mask.any():
        raise InputError(f"{patient.files['mr']}: slices of {size} miss the body: enlarge --size")
    clipped = ct.with_array(np.clip(ct.array, *HU))
    hu = np.rint(to_slices(clipped, cut.grid, fill=HU[0]))
    overlap = dice(cut.body.array, ct_body(clipped).array)
    metal = float((ct.array > HU[1]).sum() * np.prod(ct.spacing)) / 1000
    inside = _share_inside(cut)
    record = {
        "files": {kind: path and str(path) for kind, path in patient.files.items()},
        "sha256": {
            kind: _sha256(path)
            for kind, path in patient.files.items()
            if path and kind not in patient.copies
        },
        "mr_voxels_sha256": voxel_sha256(mr.array),
        "slices": cut.grid.size[0],
        "voxel_mm": [float(s) for s in mr.spacing],
        "grid": cut.grid.to_json(),
        "mr_percentiles": {str(p): v for p, v in cut.percentiles.items()},
        "hu_range": [int(hu.min()), int(hu.max())],
        "hu_range_in_file": [float(ct.array.min()), float(ct.array.max())],
        "metal_ml": round(metal, 3),
        "body_fraction": float(cut.mask.mean()),
        "body_in_slices": inside,
        "body_overlap_dice": round(overlap, 4),
        "chosen": dict(patient.chosen),
        **patient.facts,
    }
    return record | {"warnings": [*patient.warnings, *_warnings(record)]}, cut, hu


def _warnings(record: Mapping[str, Any]) -> list[str]:
    found = []
    if (overlap := record["body_overlap_dice"]) < LEAST_OVERLAP:
        found.append(
            f"the bodies of MR and CT overlap by {overlap:.2f} (Dice): look at the picture, they "
            "may not be registered"
        )
    if record["metal_ml"]:
        found.append(f"{record['metal_ml']:g} ml lie above {HU[1]} HU (metal) and were clipped")
    if (inside := record["body_in_slices"]) < LEAST_INSIDE:
        found.append(f"the slices hold {100 * inside:.1f} % of the body: enlarge --size")
    return found


def _share_inside(cut: CutMR) -> float:
    """Of the body's area how much lies within the slices, by the areas of pixel and voxel."""
    body = float(cut.body.array.sum())
    return min(1.0, round(float(cut.mask.sum()) * np.prod(cut.grid.scale) / body, 4))


def _copies(patient: Patient, partial: Path, place: Path) -> dict[str, str]:
    """Write what no file holds; the paths, relative to the data set, that stand for it."""
    volumes = {"mr": patient.mr, "ct": patient.ct, "mask": patient.mask}
    written = {kind: volumes[kind] for kind in patient.copies if volumes[kind] is not None}
    for kind, volume in (written | dict(patient.extra)).items():
        write_volume(partial / f"{kind}.nii.gz", volume)  # type: ignore[arg-type]
    return {kind: str(place / f"{kind}.nii.gz") for kind in written}


def _draw(path: Path, name: str, cut: CutMR, hu: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = overview(cut.mr, hu, cut.mask, pixel=cut.grid.pixel_mm, title=name)
    with whole(path) as partial:
        picture.savefig(partial)


def _replace(partial: Path, folder: Path) -> None:
    """Put a finished folder in its place, where an outdated one may lie."""
    old = partial.with_name(f"{partial.name}-old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    shutil.rmtree(old, ignore_errors=True)


def _sha256(path: Path) -> str:
    """Of a file's content; of a folder, of those of its files in the order of their names."""
    if path.is_dir():
        parts = (_sha256(file) for file in sorted(path.iterdir()) if file.is_file())
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
