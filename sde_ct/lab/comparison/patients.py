"""Held-out patients of a prepared data set."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from sde_ct.data.prepared import Prepared, PreparedCase
from sde_ct.volumes.volume import Volume, canonical


@dataclass(frozen=True)
class Patient:
    """A held-out patient. All volumes lie on the MR's grid, with their axes nearest to RAS+."""

    id: str
    mr: Volume
    ct: Volume
    mask: Volume  # where results are judged: the body where the CT was measured
    ambiguous: Volume | None  # where the phantom's MR allows two CT outcomes
    prior: float | None = None  # probability of the bone-like outcome, where the MR shows it


def held_out(prepared: Prepared, part: str = "test") -> list[Patient]:
    """The patients of one part of the split."""

    def patient(case: PreparedCase) -> Patient:
        # Files have their axes in any order, but figures of axial slices need z as the last axis.
        mr, ct, mask = (canonical(case.volume(name)) for name in ("mr", "ct", "mask"))
        region = canonical(case.volume("ambiguous")) if "ambiguous" in case.volumes else None
        return Patient(case.id, mr, ct, mask, region, _prior(case))

    return [patient(case) for case in prepared.of(part)]


def training_outcomes(prepared: Prepared) -> dict[float, Bool[np.ndarray, " n"]]:
    """{prior: whether each training patient is bone-like}, for phantoms whose MR shows a prior."""
    by_prior: dict[float, list[bool]] = {}
    for case in prepared.of("train"):
        if (prior := _prior(case)) is not None:
            by_prior.setdefault(prior, []).append(case.record["phantom"]["bone_like"])
    return {prior: np.array(outcomes) for prior, outcomes in by_prior.items()}


def _prior(case: PreparedCase) -> float | None:
    record = case.record.get("phantom", {})
    return record["prior"] if record.get("prior_visible") else None
