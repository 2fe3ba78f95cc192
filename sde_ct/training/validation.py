"""A look at the validation set during training."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sde_ct.config import Experiment
from sde_ct.data.prepared import Prepared
from sde_ct.methods import build_method
from sde_ct.methods.sample import draw_fn, lowest, slice_keys
from sde_ct.runtime import parallel
from sde_ct.training.data import validation_batches
from sde_ct.training.state import example_keys
from sde_ct.training.telemetry import Telemetry
from sde_ct.types import Batch

SLICES = 64  # at most, so that a look at the validation set stays cheap
SHOWN = 4  # slices that are synthesized at a look
STEPS = 20  # of their DDPM sampler: enough to see what the network has learnt
KEY = 1 << 30  # folded into the seed: validation noise is the same at every look


def looks_of(config: Experiment, prepared: Prepared, devices: int) -> list[Batch]:
    """The batches that every look is taken at: as large as a device's part in training."""
    each = max(config.data.batch_size // devices, 1)
    batches = validation_batches(config.data, prepared, each)
    return list(itertools.islice(batches, max(SLICES // each, 1)))


def onlooker(
    config: Experiment, batches: list[Batch], telemetry: Telemetry
) -> Callable[[Any, int], float | None]:
    """`look(state, step)`: a few synthetic slices, and the mean loss over the slices of all
    batches, which it returns; None where there is no batch.
    """
    method = build_method(config)
    evaluate, show = parallel.seldom(method.loss), preview(config)

    def look(state: Any, step: int) -> float | None:
        if not batches:
            return None
        state, losses, sizes = jax.device_get(state), [], [len(batch.mr) for batch in batches]
        for number, (batch, size) in enumerate(zip(batches, sizes, strict=True)):
            keys = example_keys(config.training.seed, KEY + number, size)
            losses.append(jax.device_get(evaluate(state, keys, batch)))
        mean = {
            name: float(np.average([loss[name] for loss in losses], weights=sizes))
            for name in losses[0]
        }
        telemetry.scalars(step, "validation", mean)
        for name, images in show(method.weights(state), batches[0]).items():
            telemetry.images(step, name, images)
        return mean["loss"]

    return look


def preview(config: Experiment) -> Callable[[Any, Batch], dict[str, np.ndarray]]:
    """`show(params, batch)` -> {"mr", "ct", "synthetic"}: [n, h, w], black 0, white 1."""
    few = dataclasses.replace(
        config, sampling=dataclasses.replace(config.sampling, ddpm_steps=STEPS)
    )
    draw = parallel.seldom(draw_fn(few, "ddpm" if config.method == "diffusion" else None))

    def show(params: Any, batch: Batch) -> dict[str, np.ndarray]:
        mr, ct = batch.mr[:SHOWN], batch.ct[:SHOWN]
        numbers = np.arange(len(mr))
        keys = slice_keys(config.training.seed, 0, numbers, numbers)
        x = jax.device_get(draw(params, keys, mr).x)
        middle, black = mr.shape[-1] // 2, lowest(config.data)
        images = {"mr": mr[..., middle], "ct": ct[..., 0], "synthetic": x[..., 0]}
        return {name: (image - black) / (1 - black) for name, image in images.items()}

    return show
