"""Bounds of structures' mean HU that hold for patients, as part of `calibration.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from sde_ct.errors import InputError
from sde_ct.storage.records import built
from sde_ct.uncertainty.patient_bounds import Patient, PatientBounds, Verified, fit_bounds
from sde_ct.uncertainty.structures import StructureMean


@dataclass(frozen=True)
class StructureBounds:
    """Bounds of the mean HU of each structure.

    Attributes:
        fitted: the bounds by the structure's name.
        verified: by the structure's name, `patients`, the number of test patients that have it, and
            `covered`, the share of these within the bounds; empty without test patients.
    """

    fitted: dict[str, PatientBounds]
    verified: dict[str, Verified] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Sentences on each structure: the guarantee, and the coverage in the test patients."""
        sentences = []
        for name, bounds in self.fitted.items():
            sentences.append(bounds.guarantee)
            if name in self.verified and isfinite(bounds.half_width):
                count, share = self.verified[name]["patients"], self.verified[name]["covered"]
                patients = f"{count} test patient{'s' if count != 1 else ''}"
                sentences += [f"In {patients}, {share:.0%} of these means lie within the bounds."]
        return sentences

    def to_json(self) -> dict[str, Any]:
        """The record that `from_json` reads."""
        fitted = {name: bounds.to_json() for name, bounds in self.fitted.items()}
        return {"fitted": fitted, "verified": self.verified}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "StructureBounds":
        """The inverse of `to_json`. Other records raise ValueError."""
        return built(cls, record)


def fit_structure_bounds(
    patients: Sequence[Mapping[str, StructureMean]], *, coverage: float
) -> StructureBounds:
    """Fit the bounds of every structure on the validation patients that have it.

    Args:
        patients: the structures of each patient with a real CT, by name.
        coverage: the share of new patients' means to cover.

    Raises:
        InputError: there is no structure, or `coverage` is outside (0, 1).
    """
    names = sorted({name for of_one in patients for name in of_one})
    if not names:
        raise InputError(
            "The validation patients have no structure that their real CTs measured: give "
            "structures inside the measured part of the CTs, or leave out --structures."
        )
    return StructureBounds(
        {
            name: fit_bounds(
                _having(patients, name), figure=f"mean HU of {name}", unit="HU", coverage=coverage
            )
            for name in names
        }
    )


def verified_structures(
    bounds: StructureBounds, patients: Sequence[Mapping[str, StructureMean]]
) -> StructureBounds:
    """The bounds with their coverage in the test patients that have each structure."""
    verified = {
        name: Verified(patients=len(having), covered=float(of_name.covered(having).mean()))
        for name, of_name in bounds.fitted.items()
        if (having := _having(patients, name))
    }
    return replace(bounds, verified=verified)


def _having(patients: Sequence[Mapping[str, StructureMean]], name: str) -> list[Patient]:
    found = [of_one[name] for of_one in patients if name in of_one]
    return [Patient(one.ct, one.mean, one.spread) for one in found if one.ct is not None]
