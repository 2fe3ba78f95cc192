"""Bounds of path lengths that hold for patients, as part of `calibration.json`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.records import NotNegative, built
from sde_ct.uncertainty.patient_bounds import Patient, PatientBounds, fit_bounds
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.ray_plan import PlanRecord


@dataclass(frozen=True)
class RangeBounds:
    """Bounds for the gantry angles and the stopping powers that they were fitted with.

    Attributes:
        plan: `RayPlan.to_json` of the fit.
        centre: bounds of the rays to the target's centre.
        surface: bounds of the rays to the target's surface; None if none was measured.
        verified: `patients`, the number of measured test patients, and `covered`, the mean over
            them of the share of rays to the centre within the bounds; empty without test patients.
    """

    plan: PlanRecord
    centre: PatientBounds
    surface: PatientBounds | None = None
    verified: dict[str, NotNegative] = field(default_factory=dict)

    def apply(self, ranges: TargetRanges) -> TargetRanges:
        """The path lengths with these bounds, which are at least 0 mm.

        If the bounds of the centre are infinite, `ranges` keeps the bounds that it has, and the
        guarantee says why. If only `surface` has no finite bounds, the bounds of its rays are NaN.
        """
        guarantee = self.centre.guarantee
        if not isfinite(self.centre.half_width):
            return ranges._replace(guarantee=guarantee)
        figures, bounds = ranges.figures, np.full(ranges.bounds.shape, np.nan)
        for fitted, chosen in ((self.centre, ranges.central), (self.surface, ~ranges.central)):
            if fitted and isfinite(fitted.half_width):
                bounds[:, chosen] = fitted.apply(figures.mean[chosen], figures.spread[chosen])
        interval = f"calibrated {100 * self.centre.coverage:g} % interval"
        return ranges._replace(bounds=np.maximum(bounds, 0), interval=interval, guarantee=guarantee)

    def lines(self) -> list[str]:
        """Sentences on the guarantee, and on the coverage in the test patients."""
        sentences = [self.centre.guarantee]
        if self.verified.keys() >= {"patients", "covered"} and isfinite(self.centre.half_width):
            count, share = self.verified["patients"], self.verified["covered"]
            patients = f"{count} test patient{'s' if count != 1 else ''}"
            sentences += [f"In {patients}, {share:.0%} of these lengths lie within the bounds."]
        return sentences

    def to_json(self) -> dict[str, Any]:
        """The record that `from_json` reads."""
        surface = self.surface and self.surface.to_json()
        return vars(self) | {"centre": self.centre.to_json(), "surface": surface}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "RangeBounds":
        """The inverse of `to_json`. Other records raise ValueError."""
        return built(cls, record)


def fit_range_bounds(
    patients: Sequence[TargetRanges], *, towards: str, coverage: float
) -> RangeBounds:
    """Fit the bounds on validation patients with a real CT.

    Rays that the real CT did not measure over their full length are left out.

    Args:
        patients: the path lengths of one plan in each patient.
        towards: what the rays lead to, in words, such as "target" or "body".
        coverage: the share of new patients' path lengths to cover.

    Raises:
        InputError: no ray to a centre was measured, or `coverage` is outside (0, 1).
    """
    centre, surface = (
        [one for p in patients if (one := _patient(p, p.central == of_centre))]
        for of_centre in (True, False)
    )
    if not centre:
        raise InputError(
            "The real CTs of the validation patients measured no ray to a target's centre over its "
            "full length: give other gantry angles or targets."
        )
    to = f"water-equivalent path length to the {towards}'s"
    fitted = [
        fit_bounds(values, figure=f"{to} {end}", unit="mm", coverage=coverage) if values else None
        for values, end in ((centre, "centre"), (surface, "surface"))
    ]
    return RangeBounds(patients[0].plan.to_json(), *fitted)  # type: ignore[arg-type]


def verified_bounds(bounds: RangeBounds, patients: Sequence[TargetRanges]) -> RangeBounds:
    """The bounds with their coverage in test patients."""
    measured = [one for p in patients if (one := _patient(p, p.central))]
    if not measured:
        return bounds
    covered = float(bounds.centre.covered(measured).mean())
    return replace(bounds, verified={"patients": len(measured), "covered": covered})


def _patient(ranges: TargetRanges, chosen: np.ndarray) -> Patient | None:
    """The chosen rays that the real CT measured; None if there are none."""
    figures = ranges.figures
    assert figures.real is not None
    chosen = chosen & ~np.isnan(figures.real)
    if not chosen.any():
        return None
    return Patient(figures.real[chosen], figures.mean[chosen], figures.spread[chosen])
