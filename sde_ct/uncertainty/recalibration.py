"""Spreads and intervals corrected by what validation patients showed.

The corrections go by the tissues of the *mean of the draws*, known where there is no CT, and weigh
patients alike, however large: voxels of one patient are no independent witnesses.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.whole import write_json
from sde_ct.volumes.masks import CtVolume, tissues

NAME = "calibration.json"  # beside the checkpoints that it was fitted with
SPREAD_FLOOR = 1.0  # HU, the step in which CTs are stored: intervals where all draws agree
HOLDS_FOR = (
    "a voxel of the body, taken at random from a patient like those of the fit; not voxels outside "
    "the body, nor every patient or place"
)
LOWEST = -1024.0  # HU: no CT holds less


class ByTissue(NamedTuple):
    """One figure for each tissue of the mean of the draws; see `metrics.tissues`."""

    air: float
    soft: float
    bone: float


class Calibrated(NamedTuple):
    """Of every voxel, HU: bounds are whole, rounded outwards, so files lose no coverage."""

    spread: CtVolume
    lower: CtVolume
    upper: CtVolume


@dataclass(frozen=True)
class Recalibration:
    """Corrections of one checkpoint's spread, for one sampler and one number of draws.

    What an interval promises: for a voxel taken at random from the given tissue of a new patient
    *exchangeable* with the fitted ones (same scanner, anatomy and preparation), the probability
    that the real CT lies within is about `coverage` and at least `guaranteed`, whatever the
    distribution of the errors. It is marginal: over patients and voxels, not for each voxel, nor
    each patient, nor outside the body.

    Attributes:
        coverage: share of voxels that the intervals are to cover, in (0, 1).
        sampler, draws: whose spread was corrected.
        factors: of the spread, by variance scaling.
        half_widths: of the intervals, in spreads.
        patients, voxels: that each tissue was fitted on; with no patient (too few voxels for a
            quantile) its half-width is that of the whole body.
        network: what drew: plain JSON values of its step, weights and sampling options.
        verified: what the intervals cover on other patients, plain JSON values.
    """

    coverage: float
    sampler: str
    draws: int
    factors: ByTissue
    half_widths: ByTissue
    patients: ByTissue
    voxels: ByTissue
    network: dict[str, Any] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)

    @property
    def guaranteed(self) -> ByTissue:
        """K / (K + 1) of `coverage` with K patients (Dunn et al., J. Am. Stat. Assoc. 118, 2023).

        The new patient is one of K + 1 alike, and nothing is known of its own errors.
        """
        return ByTissue(*(self.coverage * k / (k + 1) for k in self.patients))

    def apply(self, mean: CtVolume, spread: CtVolume) -> Calibrated:
        """The corrected spread and intervals of a volume.

        Args:
            mean: of the draws, HU.
            spread: their standard deviation, HU.

        Raises:
            InputError: shapes that differ.
        """
        if mean.shape != spread.shape:
            raise InputError(
                f"The mean has shape {mean.shape} and the spread {spread.shape}: give both on one "
                "grid."
            )
        tissue = list(tissues(mean).values())
        half = np.select(tissue, self.half_widths) * floored(spread)
        lower, upper = np.floor(mean - half), np.ceil(mean + half)
        return Calibrated(
            np.select(tissue, self.factors) * spread, np.maximum(lower, LOWEST), upper
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready, as `from_json` takes it."""
        figures = {
            name: value._asdict() if isinstance(value, ByTissue) else value
            for name, value in vars(self).items()
        }
        return figures | {"guaranteed": self.guaranteed._asdict(), "holds_for": HOLDS_FOR}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Recalibration":
        """Raises KeyError, TypeError or ValueError where the record is of something else."""
        figures = {name: record[name] for name in cls.__dataclass_fields__}
        for name in ("factors", "half_widths", "patients", "voxels"):
            figures[name] = ByTissue(**figures[name])
            if not all(np.isfinite(figures[name])):
                raise ValueError(name)
        if not 0 < figures["coverage"] < 1:
            raise ValueError("coverage")
        for name in ("network", "verified"):
            figures[name] = dict(figures[name])
        return cls(**figures)


def write(path: str | os.PathLike, recalibration: Recalibration) -> Path:
    """Write the file whole or not at all; an `InputError` where it is there already."""
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists: remove it to calibrate anew.")
    write_json(path, recalibration.to_json())
    return path


def read(path: str | os.PathLike) -> Recalibration:
    """What `write` wrote, or an `InputError` where there is no such file or it is damaged."""
    try:
        return Recalibration.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} does not exist: calibrate first (launch/calibrate.py)."
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: remove it and calibrate anew.") from error


def floored(spread: np.ndarray) -> np.ndarray:
    """The spread, HU, never below `SPREAD_FLOOR`."""
    return np.hypot(spread, SPREAD_FLOOR)
