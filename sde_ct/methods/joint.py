"""Draws of a residual whose slices depend on each other, so that a volume is one sample.

The denoiser of a trained residual network sees one slice at a time. Where the MR leaves something
open, its slices decide independently of each other. Here layers between those of the denoiser
relate each slice to its neighbours. Only these layers are trained, by denoising score matching on
slabs of neighbouring slices. Regression, denoiser, patient effect, and the residual's scale,
spectrum and tails stay as they are, because the distribution of a single slice should not change.
Video models are made from image models in the same way (Blattmann et al., arXiv 2304.08818).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import Experiment
from sde_ct.frequencies import FREQUENCIES
from sde_ct.methods.decomposition import (
    KNOTS,
    Decomposition,
    Params,
    Shape,
    newer_scale,
    sizes,
)
from sde_ct.methods.diffusion import Noised, form_of, noised, shown_to_network
from sde_ct.methods.patient_effect import PatientEffect, no_effect
from sde_ct.methods.residual_draw import drawn
from sde_ct.methods.samplers import MEAN, sampler_fn
from sde_ct.methods.slices import evaluator
from sde_ct.methods.step import (
    TrainState,
    adam,
    advance,
    figures_over,
    fresh,
    keep_finite,
    mean_over,
    schedule,
    weights,
)
from sde_ct.models import UNet
from sde_ct.models.stream import streamed
from sde_ct.models.unet import ALONG_Z
from sde_ct.sde import SDE, expand
from sde_ct.types import Batch, Method, ScoreFn

# Voxels and slices of the largest volume that a network sees at once. In deeper volumes, the
# matrices of `along_z.py` would consist of zeros for the most part.
LARGEST, DEEPEST = 16 * 512**2, 64


class Extended(NamedTuple):
    """What training carries from step to step."""

    along_z: TrainState  # of the layers that relate slices
    params: Params  # those of the residual network, which stay as they are
    scale: Float[Array, ""]  # s of the training patients, in units of ct_std


def joint(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    sampler: str = "ddpm",
) -> Method:
    """Train layers that relate the slices of a residual network's draws.

    Args:
      sampler: the sampler of the residual, or `MEAN` for the CT of the regression.
    """
    parts, training = Decomposition(network, config.data), config.training
    form = form_of(config.diffusion, data_mean=0.0, sigma_data=1.0)
    optimiser, rate = adam(training), schedule(training, training.learning_rate)

    def init(key, batch: Batch, params: Params | None = None) -> Extended:
        params = with_shape(parts.untrained(key, batch.mr) if params is None else params)
        begin = params.along_z
        if begin is None:
            begin = layers(network.clone(depth=1).forward.init(key, *parts.inputs(batch.mr[:1])))
        along_z = fresh(begin, optimiser, training.ema)
        return Extended(along_z, params._replace(along_z=None), jnp.mean(params.scale))

    def to_denoise(state: Extended, keys, batch: Batch) -> tuple[Noised, Array]:
        """What the denoiser sees and has to predict, and the regression's error."""
        mean = parts.mean(state.params.mean, batch.mr)
        error = parts.standard(batch.ct) - mean
        shown = jnp.concatenate([mean, batch.mr], axis=-1)
        noise = partial(noised, sde=sde, form=form, config=config.diffusion)
        return noise(keys, error / state.scale, shown, along_z=batch.along_z), error

    def denoising_loss(along_z, params: Params, batch: Batch, shown: Noised):
        slabs = network.clone(depth=config.data.slab)
        output = slabs.apply(united(params.denoiser, along_z), shown.inputs, shown.label)
        return jnp.mean(batch.valid * (output - shown.target) ** 2)  # type: ignore[operator]

    def update(state: Extended, keys, batch: Batch):
        shown, error = to_denoise(state, keys, batch)
        value, gradient = jax.value_and_grad(denoising_loss)(
            state.along_z.params, state.params, batch, shown
        )
        figures, gradient = mean_over(axis_name, (value, *sizes(error, batch.valid)), gradient)
        metrics = {"loss": figures[0], "gradient_norm": jnp.linalg.norm(gradient)}
        along_z = advance(state.along_z, gradient, optimiser, training.ema)
        new = Extended(along_z, state.params, newer_scale(state.scale, *figures[1:]))
        new, metrics["skipped"] = keep_finite(new, state, list(metrics.values()))
        return new, metrics | {"learning_rate": rate(state.along_z.step)}

    def loss(state: Extended, keys, batch: Batch):
        shown, _ = to_denoise(state, keys, batch)
        value = denoising_loss(weights(state.along_z), state.params, batch, shown)
        return figures_over(axis_name, {"loss": value})

    def for_synthesis(state: Extended) -> Params:
        return state.params._replace(along_z=weights(state.along_z))

    def score_of(params: Params, *seen: Float[Array, "n z h w _"]) -> ScoreFn:
        related = united(params.denoiser, params.along_z)

        def score(x: Float[Array, "n z h w 1"], t: Float[Array, " n"]) -> Array:
            def inputs(slices: Float[Array, "b h w 1"], *seen: Float[Array, "b h w _"]):
                times = jnp.repeat(t, len(slices) // len(t))
                alpha, std = (expand(value, slices) for value in sde.marginal(times))
                return shown_to_network(form, times, alpha, std, slices, *seen)

            output = of_volumes(network, related, inputs, x, *seen)
            return form.score(x, output, *(expand(value, x) for value in sde.marginal(t)))

        return score

    to_draw = parts, sde, score_of
    if sampler == MEAN:
        draw, is_random, means = parts.draw_mean(), False, None
    else:
        draw, is_random = drawn(*to_draw, sampler_fn(sampler, config, sde), parts.ct), True
        means = parts.means()
    return Method(
        *(init, update, loss, for_synthesis, draw, is_random),
        needs_teacher=True,
        params=stored,
        means=means,
    )


def of_volumes(
    network: UNet,
    variables: Any,
    inputs: Callable[..., tuple[Array, ...]],
    *volumes: Float[Array, "n z h w _"],
) -> Float[Array, "n z h w 1"]:
    """The output of a network that relates slices; large volumes pass through it as a stream.

    Args:
      inputs: makes the network's channels and noise label from slices of each of `volumes`.
    """
    n, depth, *image = volumes[0].shape[:4]
    related = network.clone(depth=depth)
    if math.prod(image) * depth > LARGEST or depth > DEEPEST:
        return streamed(related.forward, related.layers_along_z, variables, inputs, *volumes)
    shown = inputs(*(v.reshape(-1, *v.shape[2:]) for v in volumes))
    return evaluator(related)(variables, *shown).reshape(n, depth, *image, 1)


def with_shape(params: Params) -> Params:
    """The parameters, with a scale for each of `KNOTS`, a `Shape` and a patient effect.

    A teacher without a `Shape` gets one that leaves the residual as it is drawn, and one without a
    patient effect gets `no_effect`. So the state of a training has the same arrays whatever its
    teacher, and is read without the teacher.
    """
    scale = jnp.broadcast_to(params.scale, (len(KNOTS),))
    shape = params.shape or Shape(jnp.ones(len(FREQUENCIES)), jnp.ones(()))
    return params._replace(
        scale=scale, shape=shape, patient_effect=params.patient_effect or no_effect()
    )


def stored(shape: Any = None, patient_effect: Any = None, **items: Any) -> Params:
    """The parameters from the items of a checkpoint, where tuples with fields are dictionaries."""
    return Params(
        **items,
        shape=shape and Shape(**shape),
        patient_effect=patient_effect and PatientEffect(**patient_effect),
    )


def layers(variables: Any) -> Any:
    """Of a network's variables, those of the layers that relate slices."""
    return {"params": {k: v for k, v in variables["params"].items() if k.endswith(ALONG_Z)}}


def united(*variables: Any) -> Any:
    """One network's variables, from parts that have different layers."""
    return {"params": {k: v for part in variables for k, v in part["params"].items()}}
