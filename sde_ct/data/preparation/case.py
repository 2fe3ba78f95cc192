"""Prepare one patient: write the slices, the record and the picture to a folder."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.data import seen
from sde_ct.data.contrasts import cut as cut_contrast
from sde_ct.data.contrasts import file_name
from sde_ct.data.inputs import CutMR, cut_mask, cut_mr
from sde_ct.data.preparation.aligned import Aligned, aligned
from sde_ct.data.preparation.picture import overview, save
from sde_ct.data.preparation.registration import Kind
from sde_ct.data.prepared import CASES, DTYPES, UNITS
from sde_ct.data.sources.patient import Patient, Source
from sde_ct.errors import InputError
from sde_ct.storage.whole import naming, whole, write_json
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.overlap import ct_body, dice
from sde_ct.volumes.slice_grid import to_slices
from sde_ct.volumes.volume import Volume, voxel_sha256

SOFT_TISSUE, AIR = 0, -1000  # HU of voxels that the CT did not measure, in training slices
HU = (-1024, 3071)  # the range of 12 bits; padding lies below it, and metal above
RECORD = "case.json"
LEAST_OVERLAP = 0.9  # Dice of the bodies; aligned scans of one patient usually exceed it
LEAST_INSIDE = 0.999  # share of the body; slices that hold less of it get a warning


@dataclass(frozen=True)
class Settings:
    """The settings of the preparation, the same for every patient."""

    # In-plane pixel (y, x), mm; None keeps each MR's own.
    spacing: tuple[float, float] | None = None
    size: tuple[int, int] | None = None  # (h, w) of the slices; None requires MRs of the same size
    crop_to_body: bool = False  # centre the slices on the body instead of the image
    # How to register a CT that is not known to be registered; None for no registration.
    register: Kind | None = None
    n4: bool = False  # correct the bias field of the MR that a network sees
    pictures: bool = False  # draw qc/ID.png

    def require_sound(self) -> None:
        """Raise InputError for impossible sizes, and for `crop_to_body` without a size."""
        for name in ("spacing", "size"):
            values = getattr(self, name)
            if values is not None and (len(values) != 2 or not all(0 < v < inf for v in values)):
                raise InputError(f"{name} = {values}: give two finite numbers above 0, as y,x")
        if self.crop_to_body and self.size is None:
            raise InputError("crop_to_body needs the size of the slices: give --size too")

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        if not self.n4:  # older requests lack this field
            del values["n4"]
        return values


def kept(case: Source, output: Path, settings: Settings) -> dict[str, Any] | None:
    """The record of a patient that was prepared before from the same files, or None."""
    try:
        folder = output / CASES / case.id
        values = json.loads((folder / RECORD).read_text("utf-8"))
        record, size = values["record"], values["record"]["grid"]["size"]
        names = [*DTYPES, *map(file_name, record.get("further_percentiles", ()))]
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in names]
        volumes = [folder / f"{name}.nii.gz" for name in (*UNITS, *record.get("extra", ()))]
        complete = all(list(array.shape) == size for array in arrays)
        complete = complete and all(volume.is_file() for volume in volumes)
        drawn = not settings.pictures or picture_of(output, case.id).is_file()
        return record if complete and drawn and values["stamp"] == case.stamp() else None
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def attempt(
    case: Source, output: Path, settings: Settings, expected: list[int] | None
) -> dict[str, Any] | str:
    """The record of the patient, or the reason why the patient is refused."""
    try:
        return prepare_case(case, output, settings, expected)
    except InputError as error:
        return case.clean(str(error))


def prepare_case(
    case: Source, output: Path, settings: Settings, expected: list[int] | None
) -> dict[str, Any]:
    """Write `output`/cases/ID, whole or not at all, and return its record.

    The folder holds slices and volumes (see `prepared`) and `case.json`. `expected` is the size
    [h, w] of the slices of an existing data set.

    Raises InputError with the reason if the patient is unusable.
    """
    stamp, patient = _read(case)
    on_mr = aligned(patient, settings.register)
    record, cut, slices = _sliced(on_mr, settings)
    if expected and list(cut.grid.size[1:]) != expected:
        raise InputError(
            f"its slices have {list(cut.grid.size[1:])} pixels, but those of {output} have "
            f"{expected}: leave the patient out, or prepare all patients again with one --size"
        )
    folder = output / CASES / case.id
    partial = folder.with_name(f".{case.id}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, array in slices.items():
            stored = array.astype(DTYPES.get(name, np.float32))
            with naming(folder / f"{name}.npy"):
                np.save(partial / f"{name}.npy", stored, allow_pickle=False)
        for name, volume in _volumes(on_mr, cut).items():
            write_volume(partial / f"{name}.nii.gz", volume)
        write_json(partial / RECORD, {"stamp": stamp, "record": record})
        if settings.pictures:
            _draw(picture_of(output, case.id), case.id, cut, slices)
        _replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _read(case: Source) -> tuple[str, Patient]:
    """The stamp of the patient's files, and the patient that they hold."""
    try:
        return case.stamp(), case.read()
    # A patient is refused if reading fails; if writing fails, the run ends.
    except OSError as error:
        reason = f"{error.filename or case.id} cannot be read ({error.strerror}): check the file"
        raise InputError(reason) from error


def _volumes(on_mr: Aligned, cut: CutMR) -> dict[str, Volume]:
    """All volumes that are kept on the MR's own grid, by name."""
    patient = on_mr.patient
    regions = {"mask": patient.mask, "valid": on_mr.valid, "body": cut.outline}
    return {"mr": patient.mr, "ct": patient.ct, **regions, **patient.extra}  # type: ignore[dict-item]


def picture_of(output: Path, name: str) -> Path:
    return output / "qc" / f"{name}.png"


def _sliced(
    on_mr: Aligned, settings: Settings
) -> tuple[dict[str, Any], CutMR, dict[str, np.ndarray]]:
    """The record, the cut MR, and the slices by name; the CT's slices hold whole HU."""
    (patient, valid), size = on_mr, settings.size
    mr, ct, judged = patient.mr, patient.ct, patient.mask
    assert judged is not None  # `aligned` guarantees this
    cut = cut_mr(
        mr,
        spacing=settings.spacing,
        size=size,
        crop=size is not None,
        about_body=settings.crop_to_body,
        n4=settings.n4,
        name=str(patient.files["mr"]),
    )
    mask = cut_mask(judged, cut.grid)
    if not (mask.any() and cut.body.any()):
        raise InputError(
            f"{patient.files['mr']}: the slices miss the body: enlarge --size, or give "
            "--crop_to_body"
        )
    further = {
        name: cut_contrast(
            volume, cut.grid, cut.outline, str(patient.files[file_name(name)]), n4=settings.n4
        )
        for name, volume in patient.further.items()
    }
    body, known = cut.outline.array > 0, valid.array > 0
    clipped = np.clip(ct.array, *HU)
    taught = np.where(known, clipped, np.where(body, SOFT_TISSUE, AIR))
    hu = np.rint(to_slices(ct.with_array(taught), cut.grid, fill=AIR))
    # A pixel counts only if no unmeasured voxel enters its interpolation. Outside the volume there
    # is air.
    trusted = to_slices(valid, cut.grid, fill=1.0) > 1 - 1e-3
    in_ct = (ct_body(ct.with_array(clipped)).array > 0) & known
    metal = float((ct.array > HU[1]).sum() * np.prod(ct.spacing)) / 1000
    record: dict[str, Any] = {
        "mr_voxels_sha256": voxel_sha256(mr.array),
        "slices": cut.grid.size[0],
        "unmeasured_slices": np.flatnonzero(~trusted.any(axis=(1, 2))).tolist(),
        "voxel_mm": [float(s) for s in mr.spacing],
        "grid": cut.grid.to_json(),
        "mr_percentiles": {str(p): v for p, v in cut.percentiles.items()},
        "seen": seen.ranges([seen.figures(cut.grid, cut.body, cut.percentiles)])["figures"],
        "hu_range": [int(hu.min()), int(hu.max())],
        "hu_range_in_file": [float(ct.array.min()), float(ct.array.max())],
        "metal_ml": round(metal, 3),
        "body_fraction": float(mask.mean()),
        "body_in_slices": _share_inside(cut),
        "body_overlap_dice": round(dice(judged.array, in_ct), 4),
        "chosen": dict(patient.chosen),
        "extra": {name: volume.unit for name, volume in patient.extra.items()},
        **patient.facts,
    }
    if further:
        record["further_percentiles"] = {
            name: {str(p): v for p, v in values.items()} for name, (_, values) in further.items()
        }
    slices = {"mr": cut.mr, "ct": hu, "mask": mask, "valid": trusted}
    slices |= {file_name(name): contrast for name, (contrast, _) in further.items()}
    return record | {"warnings": [*patient.warnings, *_warnings(record)]}, cut, slices


def _warnings(record: Mapping[str, Any]) -> list[str]:
    found = []
    if (overlap := record["body_overlap_dice"]) < LEAST_OVERLAP:
        found.append(
            f"the bodies of MR and CT overlap by {overlap:.2f} (Dice): look at the picture, "
            "because they may not be registered"
        )
    if record["metal_ml"]:
        found.append(f"{record['metal_ml']:g} ml lie above {HU[1]} HU (metal) and were clipped")
    if (inside := record["body_in_slices"]) < LEAST_INSIDE:
        found.append(f"the slices hold {100 * inside:.1f} % of the body: enlarge --size")
    return found


def _share_inside(cut: CutMR) -> float:
    """The share of the body that the slices hold, from the areas of pixels and voxels."""
    area = float(cut.outline.array.sum())
    return min(1.0, round(float(cut.body.sum()) * np.prod(cut.grid.scale) / area, 4))


def _draw(path: Path, name: str, cut: CutMR, slices: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = np.where(slices["valid"], slices["ct"], AIR)  # unmeasured voxels are shown as air
    picture = overview(cut.mr, measured, slices["mask"], pixel=cut.grid.pixel_mm, title=name)
    with whole(path) as partial:
        save(picture, partial)


def _replace(partial: Path, folder: Path) -> None:
    """Move a finished folder to its place, and replace an outdated one."""
    old = partial.with_name(f"{partial.name}-old")
    if folder.exists():
        os.rename(folder, old)
    os.rename(partial, folder)
    shutil.rmtree(old, ignore_errors=True)
