"""Held-out patients: their volumes, read from the files that were prepared."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from sde_ct.data.prepared import Prepared
from sde_ct.data.regions.body import body_mask
from sde_ct.lab.phantom.cohort import RECORD
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Unit, Volume, canonical


@dataclass(frozen=True)
class Patient:
    """A held-out patient; all volumes on the MR's grid, axes turned nearest to RAS+."""

    id: str
    mr: Volume
    ct: Volume
    mask: Volume
    ambiguous: Volume | None  # where the phantom's MR allows two CT outcomes
    prior: float | None = None  # probability of the bone-like one, where the MR tells it


def held_out(prepared: Prepared, part: str = "test") -> list[Patient]:
    """The patients of one part of the split, read from the files that were prepared."""
    patients = []
    for case in prepared.of(part):
        mr, ct = _read(case.files["mr"], "a.u."), _read(case.files["ct"], "HU")  # type: ignore[arg-type]
        given = case.files["mask"]
        mask = _read(given, "mask") if given else body_mask(mr)
        ambiguous = Path(case.files["mr"]).with_name("ambiguous.nii.gz")  # type: ignore[arg-type]
        region = _read(ambiguous, "mask") if ambiguous.exists() else None
        patients.append(Patient(case.id, mr, ct, mask, region, _prior(ambiguous.parent)))
    return patients


def _read(path: str | Path, unit: Unit) -> Volume:
    """A file's axes may run anywhere; figures by slice want the axial ones last."""
    return canonical(read_volume(path, unit))


def outcomes_seen(prepared: Prepared) -> dict[float, Bool[np.ndarray, " n"]]:
    """{prior: which training patients are bone-like}, of phantoms whose MR tells their prior."""
    found: dict[float, list[bool]] = {}
    for case in prepared.of("train"):
        record = _record(Path(case.files["mr"]).parent)  # type: ignore[arg-type]
        if record.get("prior_visible"):
            found.setdefault(record["prior"], []).append(record["bone_like"])
    return {prior: np.array(outcomes) for prior, outcomes in found.items()}


def _prior(folder: Path) -> float | None:
    record = _record(folder)
    return record["prior"] if record.get("prior_visible") else None


def _record(folder: Path) -> dict:
    """What is known of a phantom; empty for other patients."""
    return json.loads((folder / RECORD).read_text()) if (folder / RECORD).exists() else {}
