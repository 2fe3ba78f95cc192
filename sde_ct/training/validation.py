"""Validation during training: the loss on held-out slices, and a few synthetic ones to look at."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from sde_ct.config import Experiment
from sde_ct.data.dataset import Example, eval_batches
from sde_ct.data.prepared import Prepared
from sde_ct.data.slabs import as_slices
from sde_ct.methods import build_method
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import fold, slice_keys
from sde_ct.training.data import examples_of
from sde_ct.training.state import example_keys
from sde_ct.training.telemetry import Telemetry
from sde_ct.types import Batch, Method

SLICES = 64  # of all validation patients together, but at least `LEAST` of each patient
LEAST = 4  # two or more show what the errors of a patient's slices have in common
SHOWN = 4  # slices that are synthesized for TensorBoard
STEPS = 20  # of the DDPM sampler for them, enough to see what the network has learnt
KEY = 1 << 30  # takes the place of the step, so that the noise is the same at every validation


def validation_batches(config: Experiment, prepared: Prepared, devices: int) -> list[Batch]:
    """The slices that every validation uses, in batches as large as one device's in training.

    A batch of slabs holds one slab.

    Each validation patient gives the same number of evenly spaced slices, or all if it has fewer.
    The list is empty if there is no validation patient.
    """
    if not prepared.split["validation"]:
        return []
    slab = config.data.slab
    source = examples_of(config.data, prepared, "validation")
    patients = itertools.groupby(range(len(source)), key=lambda i: source.where(i)[0])
    numbers = [list(group) for _, group in patients]
    each = max(max(SLICES // len(numbers), LEAST) // slab, 1)
    chosen = [(i, p) for p, patient in enumerate(numbers) for i in _spread(patient, each)]
    examples: list[Example] = [{**source[i], "patient": np.asarray(p)} for i, p in chosen]
    # `preview` draws a batch with one covariance of the noise, but patients may differ in it.
    size = max(config.data.batch_size // devices, 1) if slab == 1 else 1
    return [Batch(**as_slices(batch, slab)) for batch in eval_batches(examples, size)]


def _spread(numbers: list[int], count: int) -> list[int]:
    """`count` evenly spaced numbers: the middle of each of `count` equal parts."""
    count = min(count, len(numbers))
    return [numbers[(2 * part + 1) * len(numbers) // (2 * count)] for part in range(count)]


def validator(
    config: Experiment, batches: list[Batch], telemetry: Telemetry
) -> Callable[[Any, int], dict[str, float] | None]:
    """`validate(state, step)`, which returns mean losses over all slices, or None without slices.

    If the loss is finite, the result also holds the figures of the method's `comparison`.
    All figures and a few synthetic slices are written to `telemetry`.
    """
    method, sizes = build_method(config), [len(batch.mr_volumes) for batch in batches]
    compare, show = comparer(method), preview(config)
    # Without jit, JAX would compile every operation on every part of the state on its own.
    evaluate, weights = parallel.seldom(method.loss), parallel.seldom(method.weights)

    def validate(state: Any, step: int) -> dict[str, float] | None:
        if not batches:
            return None
        state = jax.device_get(state)
        # A key belongs to a slice, so the loss does not depend on the size of the batches.
        every, ends = example_keys(config.training.seed, KEY, sum(sizes)), np.cumsum(sizes)
        keys = [every[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        losses = [jax.device_get(evaluate(state, *one)) for one in zip(keys, batches, strict=True)]
        mean = {
            name: float(np.average([loss[name] for loss in losses], weights=sizes))
            for name in losses[0]
        }
        params = weights(state)
        if math.isfinite(mean["loss"]):
            mean |= compare(params, keys, batches)
        telemetry.scalars(step, "validation", mean)
        for name, images in show(params, batches[0]).items():
            telemetry.images(step, name, images)
        return mean

    return validate


def comparer(method: Method) -> Callable[[Any, Sequence[Array], list[Batch]], dict[str, float]]:
    """`compare(params, keys, batches)`: the figures of the method's `comparison`."""
    if method.comparison is None:
        return lambda params, keys, batches: {}
    draw, measured = parallel.seldom(method.comparison.draw), method.comparison.measured

    def compare(params: Any, keys: Sequence[Array], batches: list[Batch]) -> dict[str, float]:
        drawn = [
            [
                np.asarray(draw(params, fold(own, number), batch.mr[:, None]).x[:, 0])
                for own, batch in zip(keys, batches, strict=True)
            ]
            for number in (1, 2)
        ]
        together = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
        return measured(np.stack([np.concatenate(one) for one in drawn]), together)

    return compare


def preview(config: Experiment) -> Callable[[Any, Batch], dict[str, np.ndarray]]:
    """`show(params, batch)` -> {"mr", "ct", "synthetic"}: [n, h, w], black 0, white 1.

    "synthetic" is missing if a draw is not finite, as before a residual's denoiser is trained.
    """
    few = dataclasses.replace(
        config, sampling=dataclasses.replace(config.sampling, ddpm_steps=STEPS)
    )
    draw = parallel.seldom(build_method(few).draw)

    def show(params: Any, batch: Batch) -> dict[str, np.ndarray]:
        volumes = batch.mr_volumes[:SHOWN]
        numbers = np.arange(len(volumes))
        keys = slice_keys(config.training.seed, 0, numbers, numbers)
        along_z = None if batch.along_z is None else batch.along_z[0]
        samples = jax.device_get(draw(params, keys, volumes, along_z))
        mr, ct = batch.mr[:SHOWN], batch.ct[:SHOWN]
        middle, black = config.data.neighbours, config.data.lowest
        images: dict[str, Any] = {"mr": mr[..., middle], "ct": ct[..., 0]}
        if samples.ok.all():
            images["synthetic"] = samples.x.reshape(-1, *ct.shape[1:])[:SHOWN, ..., 0]
        return {name: (image - black) / (1 - black) for name, image in images.items()}

    return show
