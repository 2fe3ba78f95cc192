"""A few synthetic slices during training, cheap enough to make often."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sde_ct.config import Experiment
from sde_ct.methods.sample import draw_fn, lowest, slice_keys
from sde_ct.runtime import parallel
from sde_ct.types import Batch

SLICES = 4
STEPS = 20  # of the DDPM sampler: enough to see what the network has learnt


def preview(config: Experiment) -> Callable[[Any, Batch], dict[str, np.ndarray]]:
    """`show(params, batch)` -> {"mr", "ct", "synthetic"}: [n, h, w], black 0, white 1."""
    few = dataclasses.replace(
        config, sampling=dataclasses.replace(config.sampling, ddpm_steps=STEPS)
    )
    draw = parallel.seldom(draw_fn(few, "ddpm" if config.method == "diffusion" else None))

    def show(params: Any, batch: Batch) -> dict[str, np.ndarray]:
        mr, ct = batch.mr[:SLICES], batch.ct[:SLICES]
        numbers = np.arange(len(mr))
        keys = slice_keys(config.training.seed, 0, numbers, numbers)
        x = jax.device_get(draw(params, keys, mr).x)
        middle, black = mr.shape[-1] // 2, lowest(config.data)
        images = {"mr": mr[..., middle], "ct": ct[..., 0], "synthetic": x[..., 0]}
        return {name: (image - black) / (1 - black) for name, image in images.items()}

    return show
