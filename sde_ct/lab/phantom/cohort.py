"""Cohorts of pelvis phantoms: NIfTI files in the layout of SynthRAD2023, and their preparation."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.prepared import INDEX, Prepared, read_prepared
from sde_ct.data.sources.case_files import KINDS, Case
from sde_ct.data.sources.patient import Patient
from sde_ct.errors import InputError
from sde_ct.lab.phantom import pelvis
from sde_ct.lab.phantom.pelvis import PhantomPatient, Shape3, Spacing
from sde_ct.lab.phantom.scanner import SCANNERS
from sde_ct.storage.whole import write_json
from sde_ct.volumes.files import read_volume, write_volume

RECORD = "phantom.json"
MOST, USUAL = 10_000, 8  # patients
PELVIS = Path("Task1") / "pelvis"
FILES = ("mr", "ct", "mask", "ambiguous")
DEMO: dict[str, Any] = {"shape": (64, 48, 6), "spacing": (6.25, 6.25, 13.0)}  # voxels and mm


class PhantomCase(Case):
    """A phantom's files. Preparation also keeps its ambiguous region and its record."""

    def read(self) -> Patient:
        region = read_volume(self.mr.with_name("ambiguous.nii.gz"), "mask")
        record = json.loads(self.mr.with_name(RECORD).read_text("utf-8"))
        patient = super().read()
        facts = {**patient.facts, "phantom": record}
        return patient._replace(extra={"ambiguous": region}, facts=facts)


def phantom_cases(
    folder: str | os.PathLike, patients: int | None, seed: int, **options
) -> list[Case]:
    """The patients of `write_cohort`, with the same arguments and errors, as cases to prepare.

    If `patients` is None, these are `USUAL` patients, or all that the folder holds if it has more.
    """
    if patients is None:
        patients = max(USUAL, len([*(Path(folder) / PELVIS).glob("1PA*")]))
    written = write_cohort(Path(folder).absolute(), patients, seed, **options)
    return [
        PhantomCase(p.name, *(p / f"{kind}.nii.gz" for kind in KINDS))  # type: ignore[arg-type]
        for p in written
    ]


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
    t1: bool = False,
    sided: bool = False,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[Path]:
    """Write the patients that are missing; complete patients with the same settings are kept.

    Each folder `DIR/Task1/pelvis/1PA001` holds mr, ct, mask, ambiguous (`.nii.gz`) and
    `phantom.json`, and appears when complete. Patient n depends on `seed` and n, not on `patients`.

    Args:
      patients: 1 to `MOST`.
      visible_priors: used by the patients in turn instead of `prior`, and visible in their MR (see
        `brightness`).
      scanner: one of `SCANNERS`, which acquires all MRs.
      t1: write a T1-weighted MR too, t1.nii.gz.
      sided: see `pelvis_patient`.
      progress: wraps the patient numbers, e.g. `tqdm.tqdm`.

    Returns:
      The patients' folders, in order.

    Raises:
      InputError: if an argument is out of range, or a folder holds something else.
    """
    if not 1 <= patients <= MOST:
        raise InputError(f"patients={patients}: give 1 to {MOST}.")
    in_turn = visible_priors or (prior,)
    for each in in_turn:
        pelvis.require_possible(seed, shape, spacing, each)
    same: dict[str, Any] = {"shape": list(shape), "spacing_mm": list(spacing), "scanner": scanner}
    chosen = {"t1": t1, "sided": sided, "prior_visible": visible_priors}
    same |= {key: True for key, value in chosen.items() if value}
    root = Path(directory) / PELVIS
    folders = [root / f"1PA{n:03d}" for n in range(1, patients + 1)]
    records = [
        {"version": pelvis.VERSION, "seed": seed, "patient": n + 1, **same}
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
                t1=t1,
                sided=sided,
            )
            _write(folders[n], patient, records[n] | {"patient_seed": own_seed})
    return folders


def _is_complete(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the folder exists. If it exists and does not hold this patient, raises InputError."""
    if not folder.exists():
        return False
    try:
        held = {"scanner": "A"} | json.loads((folder / RECORD).read_text())  # older records lack it
    except (OSError, ValueError):
        held = {}
    same = all(held.get(key) == value for key, value in record.items())
    files = (*FILES, *(("t1",) if "t1" in record else ()))
    if same and all((folder / f"{name}.nii.gz").is_file() for name in files):
        return True
    raise InputError(
        f"{folder} holds another or an incomplete patient: "
        "choose an empty directory or remove that folder."
    )


def _write(folder: Path, patient: PhantomPatient, record: dict[str, Any]) -> None:
    """Write all files into a temporary folder, which is then renamed."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name in (*FILES, *(("t1",) if patient.t1 else ())):
            write_volume(partial / f"{name}.nii.gz", getattr(patient, name))
        outcome = {
            "bone_like": patient.bone_like,
            "ambiguous_voxels": int(patient.ambiguous.array.sum()),
            "voxel_mm": [round(float(s), 6) for s in patient.mr.spacing],
        }
        write_json(partial / RECORD, record | outcome)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def prepared_cohort(output: Path, counts: Mapping[str, int], seed: int = 0, **options) -> Prepared:
    """Write phantoms to `output/cohort`, prepare them in `output/data`, and keep existing ones.

    Args:
      counts: the number of patients in each part of the split, in the order of their names.
      seed: seed of the phantoms.
      options: further arguments of `phantom_cases`.

    Raises:
      InputError: `output` holds another cohort.
    """
    folder, wanted = Path(output) / "data", sum(counts.values())
    prepared = read_prepared(folder) if (folder / INDEX).exists() else None
    if prepared is not None and (count := len(prepared.cases)) != wanted:
        raise InputError(
            f"{output} holds {count} patients, not {wanted}: ask for {count} patients, or give "
            "another --output."
        )
    cases = phantom_cases(Path(output) / "cohort", wanted, seed, **options)
    if prepared is not None:
        return prepared
    names = iter([case.id for case in cases])
    split = {part: tuple(islice(names, count)) for part, count in counts.items()}
    return prepare(cases, folder, source="phantom", split=split)
