"""Bounds for a figure of a patient, such as a path length or the mean HU of a structure.

The bounds are mean ± q s with s = √(spread² + floor²), where mean and spread are those of the draws
and q is fitted on validation patients (split-conformal: Lei et al., J. Am. Stat. Assoc. 113, 2018).
The rays of a patient depend on one another, so the number of patients counts, not that of rays.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.storage.records import Count, Limit, NotNegative, Positive, Share, built
from sde_ct.uncertainty.recalibration import SPREAD_FLOOR, floored
from sde_ct.uncertainty.recalibration_fit import COVERAGE, patient_quantile, require_coverage

FLOORS = {"mm": 0.1, "HU": SPREAD_FLOOR}  # by unit; they widen bounds where all draws agree
ROUNDING = 1e-9  # tolerance of a share, so that rounding does not change a number of patients

Values = Float[np.ndarray, " n"]


class Patient(NamedTuple):
    """One figure of a patient, or several of one kind, such as the path lengths of all rays."""

    truth: Values | float  # in the real CT
    mean: Values | float  # over draws
    spread: Values | float  # standard deviation over draws


class Bounds(NamedTuple):
    """Bounds in the unit of the figure; infinite if they were fitted on too few patients."""

    lower: Values
    upper: Values


class Verified(TypedDict):
    """The number of test patients, and the mean over them of the share within the bounds."""

    patients: Count
    covered: NotNegative


@dataclass(frozen=True)
class PatientBounds:
    """Bounds of one figure, for the checkpoint, sampler and number of draws they were fitted with.

    Let a new patient be *exchangeable* with the K fitted ones (same scanner, anatomy and
    preparation). A figure of the new patient, taken at random if there are several, lies within
    its bounds with a probability of at least `coverage`. This is an average over patients and
    over sets of K validation patients; it does not hold for each patient or each set. At most
    K / (K + 1) can be guaranteed. For a larger `coverage`, the bounds are infinite.

    Attributes:
        figure: what is bounded, in words, such as "water-equivalent path length".
        unit: of the figure, a key of `FLOORS`.
        coverage: the share of new patients' figures that the bounds are to cover, in (0, 1).
        floor: the floor of the spread, in the unit.
        half_width: q in mean ± q s; may be infinite.
        patients: K.
    """

    figure: str
    unit: Annotated[str, Limit(lambda unit: unit in FLOORS, "mm or HU")]
    coverage: Share
    floor: Positive
    half_width: NotNegative
    patients: Count

    def apply(self, mean: Values | float, spread: Values | float) -> Bounds:
        """Bounds of new figures from their mean and standard deviation over draws."""
        half = self.half_width * floored(np.asarray(spread, np.float64), self.floor)
        return Bounds(mean - half, mean + half)

    def covered(self, patients: Sequence[Patient]) -> Float[np.ndarray, " patients"]:
        """The share of each patient's figures that lie within their bounds."""
        shares = []
        for truth, mean, spread in patients:
            lower, upper = self.apply(mean, spread)
            shares.append(np.mean((lower <= truth) & (truth <= upper)))
        return np.array(shares)

    @property
    def guarantee(self) -> str:
        """What the bounds guarantee for this number of patients, in a sentence."""
        k = f"{self.patients} validation patient{'s' if self.patients != 1 else ''}"
        if isfinite(self.half_width):
            return (
                f"With {k}, at least {100 * self.coverage:g} % of new patients' values "
                f"({self.figure}) lie within the bounds, on average over new patients like them "
                "and over sets of as many validation patients; not in every patient."
            )
        most = floor(100 * self.patients / (self.patients + 1) + ROUNDING)
        needed = ceil(self.coverage / (1 - self.coverage) - ROUNDING)
        return (
            f"With {k} at most {most} % can be guaranteed, so the bounds ({self.figure}) for "
            f"{100 * self.coverage:g} % are infinite: calibrate with at least {needed} patients, "
            f"or ask for at most {most} %."
        )

    def to_json(self) -> dict[str, Any]:
        """The record that `from_json` reads; an infinite half-width is None."""
        half_width = self.half_width if isfinite(self.half_width) else None
        return vars(self) | {"half_width": half_width, "guarantee": self.guarantee}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "PatientBounds":
        """The inverse of `to_json`. Other records raise ValueError."""
        infinite = isinstance(record, dict) and record.get("half_width", 0) is None
        bounds: PatientBounds = built(cls, record | {"half_width": 0} if infinite else record)
        if infinite == _enough(bounds.patients, bounds.coverage):
            raise ValueError(f"half_width and patients of {bounds.figure} contradict each other")
        return replace(bounds, half_width=float("inf")) if infinite else bounds


def fit_bounds(
    patients: Sequence[Patient], *, figure: str, unit: str, coverage: float = COVERAGE
) -> PatientBounds:
    """Fit the bounds of one figure on validation patients.

    A figure's score is |truth - mean| / s. With one figure for each of K patients, the half-width
    is the score of rank ⌈(K + 1) · coverage⌉. With several for each patient, it is the
    coverage · (K + 1) / K quantile of all scores, in which all patients have equal weight (HCP of
    Lee, Barber & Willett, arXiv:2306.06342). For one figure each, both are equal. The half-width
    is infinite for coverage > K / (K + 1).

    Args:
        patients: at least one, of neither the training nor the test set; values in `unit`.
        figure: what is bounded, in words.
        unit: mm or HU, which sets the floor of the spread by `FLOORS`.
        coverage: the share of new patients' figures to cover.

    Raises:
        InputError: no patient, a patient without values, values that are not finite or differ in
            number, a spread below 0, another unit, or `coverage` outside (0, 1).
    """
    require_coverage(coverage)
    if unit not in FLOORS:
        raise InputError(f"Bounds have no unit {unit!r}: give {' or '.join(FLOORS)}.")
    if not patients:
        raise InputError(f"Bounds ({figure}) need at least one validation patient: give some.")
    scores = [_scores(patient, i, figure, unit) for i, patient in enumerate(patients)]
    k, half_width = len(scores), float("inf")
    if _enough(k, coverage):
        half_width = patient_quantile(scores, min(1, coverage * (k + 1) / k))
    return PatientBounds(figure, unit, coverage, FLOORS[unit], half_width, k)


def _enough(patients: int, coverage: float) -> bool:
    return coverage <= patients / (patients + 1) + ROUNDING


def _scores(patient: Patient, index: int, figure: str, unit: str) -> Values:
    truth, mean, spread = (np.atleast_1d(np.asarray(v, np.float64)) for v in patient)
    where = f"Validation patient {index} ({figure})"
    if not truth.size or not truth.shape == mean.shape == spread.shape:
        raise InputError(
            f"{where} has {truth.size} true values, {mean.size} means and {spread.size} spreads: "
            "give as many of each, and at least one."
        )
    if not all(np.isfinite(v).all() for v in (truth, mean, spread)) or (spread < 0).any():
        raise InputError(
            f"{where} has a value that is not finite or a spread below 0: leave this value out."
        )
    return np.abs(truth - mean) / floored(spread, FLOORS[unit])
