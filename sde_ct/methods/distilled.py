"""Draws in one network evaluation, by a student of a trained residual diffusion.

The student starts with the decomposition CT = m(MR) + s·r and the weights of its teacher. Its
network turns noise, m and MR into a draw of r in one evaluation. It is evaluated at the teacher's
noisiest time, where the noised residual holds next to no information. It learns from training
images by `energy_score`, which is smallest for draws from their distribution. A least-squares loss
would instead teach it the mean, and matching the teacher's draws would teach it their errors.

De Bortoli et al. (arXiv 2502.02483) train denoisers by energy scores at all noise levels, to sample
in few steps. Here only the noisiest level is trained, and one step makes a draw.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.config import Experiment
from sde_ct.methods.decomposition import (
    Decomposition,
    Params,
    as_channels,
    newer_scale,
    sizes,
)
from sde_ct.methods.diffusion import form_of
from sde_ct.methods.energy_score import energy_score
from sde_ct.methods.mirroring import by_turned_slices, orientations
from sde_ct.methods.patient_effect import drawn_curves
from sde_ct.methods.slices import by_slices, evaluator
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
from sde_ct.methods.validated_scale import measured, validated
from sde_ct.models import UNet
from sde_ct.sampling.along_z import correlated_noise
from sde_ct.sampling.chain import all_finite
from sde_ct.sampling.keys import fold
from sde_ct.sde import SDE
from sde_ct.types import Batch, Comparison, Method, Samples


class Student(NamedTuple):
    """What training carries from step to step."""

    generator: TrainState
    mean: Any  # the regression's weights, which stay as they are
    scale: Float[Array, ""]  # s of the training patients, in units of ct_std


class Residuals(NamedTuple):
    """What the generator is to draw, and what it sees besides noise."""

    rest: Float[Array, "b h w 1"]
    shown: Float[Array, "b h w c"]  # the mean and the MR
    valid: Float[Array, "b h w 1"]


def distilled(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    only_mean: bool = False,
) -> Method:
    """Train the network that draws the residual by the energy score of two draws of each slice.

    Args:
      only_mean: return the CT of the regression instead of draws.
    """
    parts = Decomposition(network, config.data)
    form = form_of(config.diffusion, data_mean=0.0, sigma_data=1.0)
    training = config.training
    optimiser, rate = adam(training), schedule(training, training.learning_rate)
    label = form.label(jnp.ones(()), *sde.marginal(jnp.ones(())))

    def generate(evaluate, params, noise: Float[Array, "b h w 1"], shown) -> Array:
        inputs = jnp.concatenate([noise, shown], axis=-1)
        return evaluate(params, inputs, jnp.full(len(inputs), label))

    def loss(params, keys, batch: Residuals):
        noise = jax.vmap(lambda key: jax.random.normal(key, (2, *batch.rest.shape[1:])))(keys)
        both = jnp.concatenate([noise[:, 0], noise[:, 1]])
        shown = jnp.concatenate([batch.shown, batch.shown])
        draws = generate(network.apply, params, both, shown)
        return energy_score(draws.reshape(2, *batch.rest.shape), batch.rest, batch.valid)

    def drawn(finish):
        """`draw` of a Method; `finish` is `parts.ct` or `as_channels`."""

        def draw(
            params: Params, keys, mr: Float[Array, "n z h w k"], along_z=None, means=None
        ) -> Samples:
            shape, params = (*mr.shape[1:-1], 1), params.of_depth(mr.shape[1])
            # Keys are folded, because the orientation of the MR is drawn from the keys themselves.
            noise = correlated_noise(fold(keys, 0), along_z, shape)
            curves = drawn_curves(params.patient_effect, keys, mr.shape[1])

            def of_slices(mr: Float[Array, "b h w k"], noise: Array, curves: Array, *given):
                mean = given[0] if given else parts.mean(params.mean, mr)
                shown = jnp.concatenate([mean, mr], axis=-1)
                rest = generate(evaluator(network), params.denoiser, noise, shown)
                return finish(params, mean, rest, curves)

            given = () if means is None else (means,)
            by = partial(by_turned_slices, orientations(keys)) if config.data.flip else by_slices
            x = by(of_slices, mr, noise, curves, *given)
            return Samples(x, jnp.full(len(x), 2 - len(given)), all_finite(x))

        return draw

    def init(key, batch: Batch, params: Params | None = None) -> Student:
        params = parts.untrained(key, batch.mr) if params is None else params
        generator = fresh(params.denoiser, optimiser, training.ema)
        return Student(generator, params.mean, params.scale)

    def residuals(state: Student, batch: Batch) -> tuple[Residuals, Array]:
        """What the generator learns from, and the regression's error."""
        mean = parts.mean(state.mean, batch.mr)
        error = parts.standard(batch.ct) - mean
        shown = jnp.concatenate([mean, batch.mr], axis=-1)
        return Residuals(error / state.scale, shown, batch.valid), error

    def update(state: Student, keys, batch: Batch):
        shown, error = residuals(state, batch)
        value, gradient = jax.value_and_grad(loss)(state.generator.params, keys, shown)
        figures, gradient = mean_over(axis_name, (value, *sizes(error, batch.valid)), gradient)
        metrics = {"loss": figures[0], "gradient_norm": jnp.linalg.norm(gradient)}
        generator = advance(state.generator, gradient, optimiser, training.ema)
        new = Student(generator, state.mean, newer_scale(state.scale, *figures[1:]))
        new, metrics["skipped"] = keep_finite(new, state, list(metrics.values()))
        return new, metrics | {"learning_rate": rate(state.generator.step)}

    def evaluate(state: Student, keys, batch: Batch):
        shown, error = residuals(state, batch)
        value = loss(weights(state.generator), keys, shown)
        total, share = sizes(error, batch.valid)
        return figures_over(axis_name, {"loss": value, "mean_error": total / share})

    def for_synthesis(state: Student) -> Params:
        return Params(state.mean, weights(state.generator), state.scale)

    draw, means = (parts.draw_mean(), None) if only_mean else (drawn(parts.ct), parts.means())
    return Method(
        *(init, update, evaluate, for_synthesis, draw, not only_mean, validated),
        needs_teacher=True,
        means=means,
        params=Params,
        comparison=Comparison(drawn(as_channels), partial(measured, parts)),
    )
