"""Whether the spread of sums over voxels, such as a path length, matches their error."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sde_ct.uncertainty.patient_bounds import Patient
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.structures import StructureMean
from sde_ct.uncertainty.sums import Sums


class SpreadError(NamedTuple):
    """Spread and error of one figure over patients of equal weight, in the unit of the figure.

    Attributes:
        patients: the number of patients with the figure.
        error: mean over patients of the draws' mean minus the real CT's figure.
        rms_error, spread: root mean squares over patients.
        spread_over_error: as `scores.spread_skill`; 1 is right, below 1 is overconfident.
    """

    patients: int
    error: float
    rms_error: float
    spread: float
    spread_over_error: float


def spread_error(patients: Sequence[Patient], draws: Sequence[int]) -> SpreadError:
    """Spread and error of a figure; a patient may have several values, such as one for each ray.

    Args:
        patients: one or more.
        draws: the number of draws of each patient.
    """

    def mean(values: Sequence[np.ndarray]) -> float:
        return float(np.mean([np.mean(value) for value in values]))

    errors = [np.asarray(patient.mean) - patient.truth for patient in patients]
    variances = [np.square(patient.spread) for patient in patients]
    rms_error = np.sqrt(mean([np.square(error) for error in errors]))
    corrected = [v * (m + 1) / m for v, m in zip(variances, draws, strict=True)]
    ratio = np.sqrt(mean(corrected)) / rms_error if rms_error > 0 else np.nan
    spread = np.sqrt(mean(variances))
    return SpreadError(len(errors), mean(errors), *map(float, (rms_error, spread, ratio)))


def medians(patients: Sequence[Sums]) -> dict[str, float]:
    """The median of each of the `Sums` over the patients in whom it is finite."""
    columns = {name: [getattr(one, name) for one in patients] for name in Sums._fields}
    finite = {name: [v for v in values if np.isfinite(v)] for name, values in columns.items()}
    return {name: float(np.median(values)) for name, values in finite.items() if values}


def of_structures(patients: Sequence[Mapping[str, StructureMean]]) -> dict[str, SpreadError]:
    """Spread and error of each structure's mean HU over the patients that have it."""
    names = dict.fromkeys(name for of_one in patients for name in of_one)
    return {
        name: spread_error(
            [Patient(one.ct, one.mean, one.spread) for one in having],  # type: ignore[arg-type]
            [len(one.draws) for one in having],
        )
        for name in names
        if (having := [of_one[name] for of_one in patients if name in of_one])
    }


def of_rays(patients: Sequence[TargetRanges]) -> dict[str, SpreadError]:
    """Spread and error of the measured rays' path lengths, by the name of their row, in mm."""
    found: dict[str, tuple[list[Patient], list[int]]] = {}
    for ranges in patients:
        figures = ranges.figures
        for name, rays in ranges.groups().items():
            if figures.real is not None and np.isfinite(figures.real[rays]).all():
                columns = (figures.real[rays], figures.mean[rays], figures.spread[rays])
                values, draws = found.setdefault(name, ([], []))
                values.append(Patient(*columns))
                draws.append(len(figures.lengths))
    return {name: spread_error(*of_name) for name, of_name in found.items()}
