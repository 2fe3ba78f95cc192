"""Spreads and intervals corrected with validation patients, and `calibration.json`.

The corrections depend on the tissues of the *mean of the draws*, which are known without a CT. All
patients have the same weight, whatever their size, because a patient's voxels are not independent.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.records import Count, NotNegative, Share, built
from sde_ct.storage.whole import read_json, write_json
from sde_ct.volumes.masks import CtVolume, tissues

NAME = "calibration.json"  # beside the checkpoints that it was fitted with
SPREAD_FLOOR = 1.0  # HU, the step in which CTs are stored; widens intervals where all draws agree
HOLDS_FOR = (
    "a voxel of the body, taken at random from a patient like those of the fit; not voxels outside "
    "the body, nor every patient or place"
)
LOWEST, HIGHEST = -1024.0, 3071.0  # HU: preparation clips CTs to this range, that of 12 bits


class ByTissue(NamedTuple):
    """A figure for each tissue of the mean of the draws, as `masks.tissues` defines tissues."""

    air: NotNegative
    soft: NotNegative
    bone: NotNegative


class Calibrated(NamedTuple):
    """Volumes in HU. Bounds are rounded outwards to whole HU, so that int16 files lose no coverage.

    Bounds end at `LOWEST` and `HIGHEST`, which no CT of the fit exceeds. The upper bound may exceed
    the window of the training, as real CTs do in metal and enamel.
    """

    spread: CtVolume
    lower: CtVolume
    upper: CtVolume


@dataclass(frozen=True)
class Recalibration:
    """Corrections of one checkpoint's spread, for one sampler and one number of draws.

    Let a new patient be *exchangeable* with the fitted ones (same scanner, anatomy and
    preparation). In a random voxel of a tissue, the real CT lies within the interval with a
    probability of about `coverage` and at least `guaranteed`, whatever the distribution of the
    errors. This guarantee is an average over patients and voxels of the body. It does not hold for
    each voxel or each patient, nor outside the body.

    Attributes:
        coverage: the share of voxels that the intervals are to cover, in (0, 1).
        factors: by which the spread is multiplied (variance scaling).
        half_widths: of the intervals, as multiples of the floored spread.
        patients, voxels: how many each tissue was fitted on. A tissue with too few voxels for a
            quantile has 0 patients and the half-width of the whole body.
        network: the step, weights and sampling options of the network, as plain JSON values.
        verified: the coverage on test patients or, without any, on the fitted ones, as plain JSON
            values.
        path_lengths: `RangeBounds.to_json`; empty where path lengths were not calibrated.
        structures: `StructureBounds.to_json`; empty where no structures were calibrated.
    """

    coverage: Share
    sampler: str | None  # None for a network that draws without a sampler
    draws: Count
    factors: ByTissue
    half_widths: ByTissue
    patients: ByTissue
    voxels: ByTissue
    network: dict[str, Any] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)
    path_lengths: dict[str, Any] = field(default_factory=dict)
    structures: dict[str, Any] = field(default_factory=dict)

    @property
    def guaranteed(self) -> ByTissue:
        """`coverage` · K / (K + 1) for K patients (Dunn et al., J. Am. Stat. Assoc. 118, 2023)."""
        return ByTissue(*(self.coverage * k / (k + 1) for k in self.patients))

    def apply(self, mean: CtVolume, spread: CtVolume) -> Calibrated:
        """The corrected spread and intervals, from the mean and standard deviation of draws, HU.

        Raises InputError if the shapes differ.
        """
        if mean.shape != spread.shape:
            raise InputError(
                f"The mean has shape {mean.shape} and the spread {spread.shape}: give both on one "
                "grid."
            )
        tissue = list(tissues(mean).values())
        half = np.select(tissue, self.half_widths) * floored(spread)
        lower = np.maximum(np.floor(mean - half), LOWEST)
        upper = np.minimum(np.ceil(mean + half), HIGHEST)
        return Calibrated(np.select(tissue, self.factors) * spread, lower, upper)

    def to_json(self) -> dict[str, Any]:
        """The record that `from_json` reads."""
        figures = {k: v._asdict() if isinstance(v, ByTissue) else v for k, v in vars(self).items()}
        return figures | {"guaranteed": self.guaranteed._asdict(), "holds_for": HOLDS_FOR}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Recalibration":
        """The inverse of `to_json`. Other records raise ValueError."""
        return built(cls, record)


def write(path: Path, recalibration: Recalibration) -> None:
    """Write the file completely or not at all. Raises InputError if it exists."""
    if path.exists():
        raise InputError(f"{path} exists: remove it to calibrate again.")
    write_json(path, recalibration.to_json())


def read(path: Path) -> Recalibration:
    """Read the file of `write`. Raises InputError if it is missing or damaged."""
    try:
        return Recalibration.from_json(read_json(path))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist: calibrate first (launch/calibrate.py)."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): remove it and calibrate again.") from error


def floored(spread: np.ndarray, floor: float = SPREAD_FLOOR) -> np.ndarray:
    """√(spread² + floor²), in the unit of the spread."""
    return np.hypot(spread, floor)
