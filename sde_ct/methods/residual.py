"""A regression of the CT, and a diffusion model of its residual.

With the decomposition CT = m(MR) + s·r of `decomposition.py`, a conditional diffusion learns the
distribution of r given the MR and m (CorrDiff: Mardani et al., arXiv 2309.15214).
"""

from functools import partial

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
from sde_ct.methods.diffusion import Noised, form_of, noised, score_fn
from sde_ct.methods.residual_draw import drawn
from sde_ct.methods.residual_plan import Networks, Plan
from sde_ct.methods.samplers import MEAN, few_steps, sampler_fn
from sde_ct.methods.step import advance, figures_over, keep_finite, mean_over
from sde_ct.methods.validated_scale import measured, validated
from sde_ct.models import UNet
from sde_ct.sde import SDE
from sde_ct.types import Batch, Comparison, Method, ScoreFn


def residual(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    sampler: str = "ddpm",
) -> Method:
    """Train a regression by least squares, and a diffusion of its residual by score matching.

    Args:
      sampler: the sampler of the residual. `MEAN` instead returns the CT of the regression, which
        is the mean of both orientations if images are mirrored in training.
    """
    plan, parts = Plan(config), Decomposition(network, config.data)
    form = form_of(config.diffusion, data_mean=0.0, sigma_data=1.0)

    def to_denoise(state: Networks, keys, batch: Batch, mean) -> Noised:
        rest = (parts.standard(batch.ct) - mean) / state.scale
        shown = jnp.concatenate([mean, batch.mr], axis=-1)
        return noised(keys, rest, shown, sde=sde, form=form, config=config.diffusion)

    def denoising(state: Networks, keys, batch: Batch) -> Noised:
        return to_denoise(state, keys, batch, parts.mean(plan.trained(state)[0], batch.mr))

    def regressing(batch: Batch) -> Noised:
        return Noised(*parts.inputs(batch.mr), parts.standard(batch.ct))

    def init(key, batch: Batch, params: Params | None = None) -> Networks:
        if params is None:
            first = network.forward.init(key, *parts.inputs(batch.mr[:1]))
            return plan.begin(first, None, jnp.ones(()))
        state = plan.begin(params.mean, params.denoiser, params.scale)
        untrained = jnp.isnan(params.scale)
        return state._replace(warm=untrained, scale=jnp.where(untrained, 1.0, params.scale))

    def update(state: Networks, keys, batch: Batch):
        state, rate = plan.turn(state)
        denoises = state.denoised >= 0
        shown = jax.lax.cond(
            denoises, lambda: denoising(state, keys, batch), lambda: regressing(batch)
        )

        def loss(params):
            error = network.apply(params, shown.inputs, shown.label) - shown.target
            return jnp.mean(batch.valid * error**2), sizes(error, batch.valid)

        before = state.active, state.scale, state.step
        (value, parted), gradient = jax.value_and_grad(loss, has_aux=True)(state.active.params)
        figures, gradient = mean_over(axis_name, (value, *parted), gradient)
        metrics = {"loss": figures[0], "gradient_norm": jnp.linalg.norm(gradient)}
        trained = advance(state.active, gradient, plan.optimiser(rate), config.training.ema)
        scale = jnp.where(denoises, state.scale, newer_scale(state.scale, *figures[1:]))
        after, metrics["skipped"] = keep_finite(
            (trained, scale, state.step + 1), before, list(metrics.values())
        )
        state = state._replace(active=after[0], scale=after[1], step=after[2])
        return state, metrics | {"learning_rate": rate, "network": denoises}

    def loss(state: Networks, keys, batch: Batch):
        """The denoiser's loss, and the regression's loss and mean |error|.

        While the denoiser is untrained, its loss is NaN, so checkpoints with draws are preferred.
        """
        params = for_synthesis(state)
        mean = parts.mean(params.mean, batch.mr)
        shown = to_denoise(state, keys, batch, mean)
        output = network.apply(params.denoiser, shown.inputs, shown.label)
        denoiser_loss = jnp.mean(batch.valid * (output - shown.target) ** 2)  # type: ignore[operator]
        error = mean - parts.standard(batch.ct)
        total, share = sizes(error, batch.valid)
        figures = {
            "loss": jnp.where(jnp.isnan(params.scale), jnp.nan, denoiser_loss),
            "mean_loss": jnp.mean(batch.valid * error**2),
            "mean_error": total / share,
        }
        return figures_over(axis_name, figures)

    def for_synthesis(state: Networks) -> Params:
        untrained = state.warm & (state.denoised < 0)
        return Params(*plan.trained(state), jnp.where(untrained, jnp.nan, state.scale))

    def score_of(params: Params, *seen: Float[Array, "n z h w _"]) -> ScoreFn:
        return score_fn(params.denoiser, *seen, sde=sde, network=network, form=form)

    to_draw = parts, sde, score_of
    if sampler == MEAN:
        draw, is_random, means = parts.draw_mean(), False, None
    else:
        draw, is_random = drawn(*to_draw, sampler_fn(sampler, config, sde), parts.ct), True
        means = parts.means()
    quick = drawn(*to_draw, few_steps(config, sde), as_channels)
    return Method(
        *(init, update, loss, for_synthesis, draw, is_random, validated),
        comparison=Comparison(quick, partial(measured, parts)),
        params=Params,
        means=means,
    )
