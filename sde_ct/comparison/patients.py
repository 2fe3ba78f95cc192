"""Held-out patients: their volumes, read from the files that were prepared."""

import json
from dataclasses import dataclass
from pathlib import Path

from sde_ct.data.body import body_mask
from sde_ct.data.files import read_volume
from sde_ct.data.phantom import RECORD
from sde_ct.data.prepared import Prepared
from sde_ct.data.volume import Volume


@dataclass(frozen=True)
class Patient:
    """A held-out patient; all volumes on the MR's grid."""

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
        mr, ct = read_volume(case.files["mr"], "a.u."), read_volume(case.files["ct"], "HU")
        given = case.files["mask"]
        mask = read_volume(given, "mask") if given else body_mask(mr)
        ambiguous = Path(case.files["mr"]).with_name("ambiguous.nii.gz")
        region = read_volume(ambiguous, "mask") if ambiguous.exists() else None
        patients.append(Patient(case.id, mr, ct, mask, region, _prior(ambiguous.parent)))
    return patients


def _prior(folder: Path) -> float | None:
    if not (folder / RECORD).exists():
        return None
    record = json.loads((folder / RECORD).read_text())
    return record["prior"] if record.get("prior_visible") else None
