"""A look at the validation set during training."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sde_ct import parallel
from sde_ct.config import Experiment
from sde_ct.data.prepared import Prepared
from sde_ct.methods import build_method
from sde_ct.training.data import validation_batches
from sde_ct.training.keys import example_keys
from sde_ct.training.preview import preview
from sde_ct.training.telemetry import Telemetry
from sde_ct.types import Batch

BATCHES = 4  # at most, so that a look at the validation set stays cheap
KEY = 1 << 30  # folded into the seed: validation noise is the same at every look


def looks_of(config: Experiment, prepared: Prepared) -> list[Batch]:
    """The batches that every look is taken at."""
    return list(itertools.islice(validation_batches(config.data, prepared), BATCHES))


def onlooker(
    config: Experiment, batches: list[Batch], telemetry: Telemetry
) -> Callable[[Any, int], float | None]:
    """`look(state, step)`: a few synthetic slices, and the mean loss over the batches, which it
    returns; None where there is no batch.
    """
    method = build_method(config)
    evaluate, show = parallel.seldom(method.loss), preview(config)

    def look(state: Any, step: int) -> float | None:
        state, losses = jax.device_get(state), []
        for number, batch in enumerate(batches):
            keys = example_keys(config.training.seed, KEY + number, len(batch.mr))
            losses.append(jax.device_get(evaluate(state, keys, batch)))
        if not losses:
            return None
        mean = {name: float(np.mean([loss[name] for loss in losses])) for name in losses[0]}
        telemetry.scalars(step, "validation", mean)
        for name, images in show(method.weights(state), batches[0]).items():
            telemetry.images(step, name, images)
        return mean["loss"]

    return look
