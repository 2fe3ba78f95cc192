"""Read a trained network from its work directory."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.config import Experiment
from sde_ct.data.contrasts import SINGLE
from sde_ct.data.intensity import Intensity
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.methods.samplers import with_evaluations
from sde_ct.training import weights


class Trained(NamedTuple):
    """A trained network and all that is needed to use it."""

    config: Experiment
    data: dict[str, Any]  # the description of the training data
    params: Any
    step: int
    chosen: str = "newest"  # "best" by validation loss, or "newest"

    @property
    def intensity(self) -> Intensity:
        return Intensity.from_json(self.data["intensity"])

    @property
    def contrasts(self) -> tuple[str, ...]:
        """The names of the MR contrasts of the training, in their order."""
        return tuple(self.data.get("contrasts", SINGLE))

    @property
    def is_random(self) -> bool:
        """Whether draws differ; those of a CNN or GAN are equal."""
        return build_method(self.config).is_random

    def identity(self) -> dict[str, Any]:
        """The step and a hash of the weights, independent of the work directory, as plain JSON."""
        return {"step": self.step, "weights_sha256": self.sha256()}

    def sha256(self) -> str:
        """A hash of the weights, in hex."""
        return weights.sha256(self.params)


def load(workdir: Path, checkpoint: str = "best") -> Trained:
    """Load a checkpoint of a work directory, with its sampling weights.

    Args:
      workdir: work directory of the training.
      checkpoint: "best", the one with the smallest validation loss, or "newest". If no validation
        loss was measured, the best is the newest.

    Raises:
      InputError: the folder is no work directory, or holds no checkpoint yet.
    """
    return Trained(*weights.read_weights(workdir, *weights.choose(workdir, checkpoint)))


def with_budget(trained: Trained, sampler: str | None, evaluations: int) -> Trained:
    """The network with the sampler's steps set so that a draw takes `evaluations`.

    Raises InputError if the method or the sampler has no such choice.
    """
    if not trained.is_random or trained.config.diffusion.times == "listed":
        raise InputError("This network's number of evaluations is fixed: leave out --evaluations.")
    options = with_evaluations(trained.config.sampling, sampler or "", evaluations)
    return trained._replace(config=dataclasses.replace(trained.config, sampling=options))
