"""Measure one patient's synthetic CT for the verdict of `sde_ct.acceptance`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sde_ct.acceptance.anatomy import FLIPS, project
from sde_ct.acceptance.ct_features import ct_features
from sde_ct.acceptance.mr_features import mr_figures
from sde_ct.acceptance.patient import Measured
from sde_ct.methods import build_network
from sde_ct.methods.embedding import coarse_features
from sde_ct.synthesis import correction
from sde_ct.synthesis.sidecar import differences
from sde_ct.synthesis.synthetic_ct import SyntheticCT
from sde_ct.synthesis.trained import Trained
from sde_ct.volumes.volume import Volume

BATCH = 8  # slices at once; volumes of any depth share one program


def settings(trained: Trained, sampler: str | None, draws: int) -> dict[str, Any]:
    """The weights and the sampling settings of a reference, as plain JSON values."""
    return {**correction.network(trained), "sampler": sampler, "draws": draws}


def settings_facts(fitted: Mapping[str, Any], used: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A reason for each sampling setting that differs from that of the fit."""
    changed = differences(dict(fitted), {key: used[key] for key in fitted if key in used})
    return [("settings", f"Changed since the thresholds were fitted: {one}.") for one in changed]


def air_facts(ct: SyntheticCT) -> list[tuple[str, str]]:
    """A reason if the draws show tissue in the air around the body.

    The thresholds can't show this if the network always draws noise: they were fitted to such CTs.
    """
    warning = ct.air.warning if ct.air else None
    return [("air", warning)] if warning else []


class Measurer:
    """Measures patients for one network; its program is compiled once."""

    def __init__(self, trained: Trained):
        self._trained = trained
        network = build_network(trained.config)
        self._coarse: Callable = jax.jit(lambda params, mr: coarse_features(network, params, mr))

    def __call__(
        self,
        name: str,
        mr: Volume,
        mean: Volume,
        spread: Volume | None,
        draws: Sequence[Volume] = (),
        further: Sequence[Volume] = (),
        errors: Mapping[str, float] | None = None,
    ) -> Measured:
        """Measure one patient.

        Args:
          name: the patient's name.
          mr: a.u.
          mean, spread: of the draws as the network gave them, HU; the spread is not calibrated.
          draws: the single draws, if they were kept.
          further: the other MR contrasts.
          errors: the MAE by tissue, HU, if there is a real CT.
        """
        given = self._trained.input_of(mr, further=further, name=name)
        figures = mr_figures(mr, given.percentiles)
        return Measured(
            name=name,
            values=figures.values | ct_features(mr, mean, spread, draws),
            grey_values=figures.grey_values,
            asymmetry=figures.asymmetry,
            flips=[project(self._features(np.flip(given.mr, axes))) for axes in FLIPS],
            errors=errors or {},
        )

    def _features(self, mr: np.ndarray) -> np.ndarray:
        padded = np.pad(mr, ((0, -len(mr) % BATCH), (0, 0), (0, 0), (0, 0)))
        parts = [
            jax.device_get(self._coarse(self._trained.params, padded[first : first + BATCH]))
            for first in range(0, len(padded), BATCH)
        ]
        return np.concatenate(parts)[: len(mr)]
