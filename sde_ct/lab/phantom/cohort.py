"""Cohorts of pelvis phantoms as NIfTI files in the layout of SynthRAD2023."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from sde_ct.data.sources.cohorts import KINDS, Case
from sde_ct.data.sources.patient import Patient
from sde_ct.errors import InputError
from sde_ct.lab.phantom import pelvis
from sde_ct.lab.phantom.pelvis import PhantomPatient, Shape3, Spacing
from sde_ct.lab.phantom.scanner import SCANNERS
from sde_ct.storage.whole import write_json
from sde_ct.volumes.files import read_volume

RECORD = "phantom.json"
FILES = {"mr": np.float32, "ct": np.int16, "mask": np.uint8, "ambiguous": np.uint8}


class PhantomCase(Case):
    """A phantom's files; preparation also keeps its ambiguous region and its record."""

    def read(self) -> Patient:
        region = read_volume(self.mr.with_name("ambiguous.nii.gz"), "mask")
        record = json.loads(self.mr.with_name(RECORD).read_text("utf-8"))
        patient = super().read()
        facts = {**patient.facts, "phantom": record}
        return patient._replace(extra={"ambiguous": region}, facts=facts)


def phantom_cases(folder: str | os.PathLike, patients: int, seed: int, **options) -> list[Case]:
    """The patients of `write_cohort` as cases to prepare; arguments and errors are the same."""
    written = write_cohort(Path(folder).absolute(), patients, seed, **options)
    return [PhantomCase(p.name, *(p / f"{kind}.nii.gz" for kind in KINDS)) for p in written]


def write_cohort(
    directory: str | os.PathLike,
    patients: int,
    seed: int,
    *,
    shape: Shape3 = pelvis.SHAPE,
    spacing: Spacing = pelvis.SPACING,
    prior: float = 0.5,
    visible_priors: Sequence[float] = (),
    scanner: str = "A",
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[Path]:
    """Write the patients that are missing; complete patients of the same request stay.

    Each folder `DIR/Task1/pelvis/1PA001` holds mr, ct, mask, ambiguous (`.nii.gz`) and
    `phantom.json`, and appears only when it is complete. Patient n depends on `seed` and n alone.

    Args:
      visible_priors: priors that the patients take in turn and their MR shows (see `brightness`);
        they replace `prior`, which no MR shows.
      scanner: one of `SCANNERS`, which all MRs are from.
      progress: wraps the patient numbers, e.g. `tqdm.tqdm`.

    Returns:
      The patients' folders, in order.

    Raises:
      InputError: if a request is out of range, or a folder holds something else.
    """
    if patients < 1:
        raise InputError(f"patients must be at least 1, not {patients}.")
    in_turn = visible_priors or (prior,)
    for each in in_turn:
        pelvis.require_possible(seed, shape, spacing, each)
    same: dict[str, Any] = {"shape": list(shape), "spacing_mm": list(spacing), "scanner": scanner}
    if visible_priors:
        same["prior_visible"] = True
    root = Path(directory) / "Task1" / "pelvis"
    folders = [root / f"1PA{n:03d}" for n in range(1, patients + 1)]
    records = [
        {"version": pelvis.VERSION, "seed": seed, "patient": n + 1}
        | same
        | {"prior": float(in_turn[n % len(in_turn)])}
        for n in range(patients)
    ]
    missing = [not _is_complete(*pair) for pair in zip(folders, records, strict=True)]
    root.mkdir(parents=True, exist_ok=True)
    for n in progress(range(patients)):
        if missing[n]:
            own_seed = int(np.random.SeedSequence([seed, n + 1]).generate_state(1)[0])
            patient = pelvis.pelvis_patient(
                own_seed,
                shape=shape,
                spacing=spacing,
                prior=records[n]["prior"],
                prior_visible=bool(visible_priors),
                scanner=SCANNERS[scanner],
            )
            _write(folders[n], patient, records[n] | {"patient_seed": own_seed})
    return folders


def _is_complete(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds this very patient; False where it does not exist yet."""
    if not folder.exists():
        return False
    try:
        held = {"scanner": "A"} | json.loads((folder / RECORD).read_text())  # older: not named
    except (OSError, ValueError):
        held = {}
    same = all(held.get(key) == value for key, value in record.items())
    if same and all((folder / f"{name}.nii.gz").is_file() for name in FILES):
        return True
    raise InputError(
        f"{folder} holds another or an incomplete patient: "
        "choose an empty directory or remove that folder."
    )


def _write(folder: Path, patient: PhantomPatient, record: dict[str, Any]) -> None:
    """Write all files into a folder beside the patient's, then give that folder its name."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, dtype in FILES.items():
            volume = getattr(patient, name)
            image = nib.Nifti1Image(volume.array.astype(dtype), volume.affine)
            image.set_sform(volume.affine, code="scanner")
            image.set_qform(volume.affine, code="scanner")
            image.header.set_xyzt_units("mm")
            nib.save(image, partial / f"{name}.nii.gz")
        outcome = {
            "bone_like": patient.bone_like,
            "ambiguous_voxels": int(patient.ambiguous.array.sum()),
            "voxel_mm": [round(float(s), 6) for s in patient.mr.spacing],
        }
        write_json(partial / RECORD, record | outcome)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
