"""A trained network, read from its work directory."""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from sde_ct.config import Experiment
from sde_ct.data.intensity import Intensity
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.methods.samplers import with_evaluations
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import read_experiment
from sde_ct.training.state import fresh_state


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
    def is_random(self) -> bool:
        """Whether draws differ; those of a CNN or GAN do not."""
        return build_method(self.config).is_random

    def identity(self) -> dict[str, Any]:
        """The checkpoint's step and weights, independent of the work directory; plain JSON."""
        return {"step": self.step, "weights_sha256": self.sha256()}

    def sha256(self) -> str:
        """A hash of the weights, hex."""
        digest = hashlib.sha256()
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            array = np.asarray(leaf)
            digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()


def load(workdir: Path, checkpoint: str = "best") -> Trained:
    """A checkpoint of a work directory, with its sampling weights.

    Args:
      workdir: of the training.
      checkpoint: "best", that with the smallest validation loss, or "newest". Where no validation
        loss was measured, the best is the newest.

    Raises:
      InputError: the folder is no work directory, or holds no checkpoint yet.
    """
    config, data = read_experiment(workdir)
    checkpoints = Checkpoints(workdir)
    # Asked once, since a training may be adding more.
    step = checkpoints.best if checkpoint == "best" else checkpoints.latest
    if step is None:
        raise InputError(f"{workdir} holds no checkpoint yet: train first.")
    validated = checkpoints.validation_loss(step) < math.inf
    chosen = "best" if checkpoint == "best" and validated else "newest"
    method = build_method(config)
    state, _ = checkpoints.restore(lambda: fresh_state(method, config, tuple(data["size"])), step)
    return Trained(config, data, method.weights(jax.device_get(state)), step, chosen)


def with_budget(trained: Trained, sampler: str | None, evaluations: int) -> Trained:
    """The network with a sampler's steps set to take `evaluations` of the network per draw.

    Raises InputError where the method or the sampler has no such choice.
    """
    if not trained.is_random or trained.config.diffusion.times == "listed":
        raise InputError("This network's number of evaluations is fixed: leave out --evaluations.")
    options = with_evaluations(trained.config.sampling, sampler or "", evaluations)
    return trained._replace(config=dataclasses.replace(trained.config, sampling=options))
