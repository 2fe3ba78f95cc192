"""`acceptance.json`, a summary of a network's training and validation patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.acceptance.anatomy import Atlas, Distances
from sde_ct.acceptance.asymmetry import mirrored_odds
from sde_ct.acceptance.error_bound import ErrorModel
from sde_ct.acceptance.features import FEATURES, TISSUES
from sde_ct.acceptance.patient import Measured
from sde_ct.data.intensity import HISTOGRAM
from sde_ct.errors import InputError
from sde_ct.storage.records import Positive, Share, built
from sde_ct.storage.whole import read_json, write_json

GREY_STEP = 0.5  # %, lower bound on the standard deviation of a percentile of the grey values
NAME = "acceptance.json"  # beside the checkpoints that it was fitted with


@dataclass(frozen=True)
class Reference:
    """The training and validation patients of one network, and the threshold of a review.

    Attributes:
      patients: number of training and validation patients.
      grey_values: mean and standard deviation of `MRFigures.grey_values` over the training
        patients.
      atlas: slices of the training patients.
      asymmetries: `MRFigures.asymmetry` of each training patient, by name.
      build: (a, b) of log(bone volume) = a + b log(body volume), cm³.
      errors: the error model of each tissue.
      centre, scale: of each figure, as `Feature.scaled`. A score is |figure - centre| / scale, or 0
        below the centre if only high values are suspicious.
      largest: the largest score of these patients for each figure, at least 1.
      threshold: the largest score that a patient may have without a review.
      rate: of false alarms for which the threshold was made.
      level: share of patients for whom the bound of the error was made.
      promise: a sentence on what the threshold promises.
      network: a record of the weights, the sampling settings, the sampler and the number of draws.
    """

    patients: Mapping[str, int]
    grey_values: tuple[Sequence[float], Sequence[float]]
    atlas: Atlas
    asymmetries: Mapping[str, Sequence[float]]
    build: tuple[float, float]
    errors: Mapping[str, ErrorModel]
    centre: Mapping[str, float]
    scale: Mapping[str, Positive]
    largest: Mapping[str, Positive]
    threshold: Positive
    rate: Share
    level: Share
    promise: str
    network: Mapping[str, Any]

    def features(self, patient: Measured, without: str = "") -> dict[str, float]:
        """All figures of a patient.

        `without` names a training patient whose slices and asymmetry do not count.
        """
        values = dict(patient.values)
        anatomy = self.atlas.distances(patient.flips, without)
        others = np.array([a for name, a in self.asymmetries.items() if name != without])
        usual, deviation = map(np.array, self.grey_values)
        apart = (patient.grey_values - usual) / np.maximum(deviation, GREY_STEP)
        bone, body = values["bone_volume"], values["body_volume"]
        expected = np.exp(self.build[0] + self.build[1] * np.log(max(body, 1e-6)))
        values |= {
            "anatomy": anatomy.mean,
            "anatomy_worst": anatomy.worst,
            "mirrored_odds": mirrored_odds(patient.asymmetry, others),
            "turned": self._turned(anatomy),
            "contrast": float(np.sqrt(np.mean(apart**2))),
            "bone_volume": float(bone / max(expected, 1e-6)),
            "bone_missing": float(expected / max(bone, 1e-6)),
            "bone_faint": 1 / max(np.nan_to_num(values["bone_hu"]), 1.0),  # 1 without bone
        }
        predicted = {f"error_{t}": model.predict(values) for t, model in self.errors.items()}
        return values | predicted

    def _turned(self, anatomy: Distances) -> float:
        """The distance of the anatomy, divided by its distance after the MR is turned over.

        The result is NaN if the turned MR is not like the training MRs either, because a turn then
        explains nothing.
        """
        if "anatomy" in self.centre:
            passes = self.centre["anatomy"] + self.threshold * self.scale["anatomy"]
            if FEATURES["anatomy"].scaled(anatomy.turned) > passes:
                return float("nan")
        return max(anatomy.mean, 1e-9) / max(anatomy.turned, 1e-9)

    def scores(self, features: Mapping[str, float]) -> dict[str, float]:
        """The distance of each figure from its centre, in units of its variation in training."""
        found = {}
        for name, feature in FEATURES.items():
            value = features.get(name, np.nan)
            if name in self.centre and np.isfinite(value):
                off = (feature.scaled(value) - self.centre[name]) / self.scale[name]
                found[name] = float(abs(off) if feature.sides == "both" else max(off, 0.0))
        return found

    def to_json(self) -> dict[str, Any]:
        """The record that `from_json` reads."""
        errors = {name: model._asdict() for name, model in self.errors.items()}
        return vars(self) | {"atlas": self.atlas.to_json(), "errors": errors}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Reference":
        """The inverse of `to_json`. Other records raise ValueError."""
        found: Reference = built(cls, record)
        atlas, lists = found.atlas, [*found.asymmetries.values()]
        fits = {
            "errors": found.errors.keys() <= set(TISSUES)
            and all(len(m.names) == len(m.weights) for m in found.errors.values()),
            "centre": bool(found.centre) and found.centre.keys() <= FEATURES.keys(),
            "scale": found.scale.keys() == found.centre.keys(),
            "largest": found.largest.keys() == found.centre.keys(),
            "atlas": len(atlas.patients) == len(atlas.positions) == len(atlas.slices),
            "asymmetries": found.asymmetries.keys() == {*atlas.patients}
            and len({*map(len, lists)}) == 1,
            "grey_values": {*map(len, found.grey_values)} == {len(HISTOGRAM)},
        }
        if wrong := [name for name, right in fits.items() if not right]:
            raise ValueError(f"{wrong[0]} lacks entries or has unknown ones")
        return found


def write(path: Path, reference: Reference) -> None:
    """Write the file whole or not at all. Raises InputError where it exists."""
    if path.exists():
        raise InputError(f"{path} exists: remove it to fit again.")
    write_json(path, reference.to_json(), indent=0)


def read(path: Path) -> Reference:
    """Read the file of `write`. Raises InputError where it is missing or damaged."""
    try:
        return Reference.from_json(read_json(path))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: run launch/accept.py --fit first.") from error
    except ValueError as error:
        raise InputError(
            f"{path} is damaged or of another version ({error}): remove it and fit again."
        ) from error
