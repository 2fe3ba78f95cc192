"""A regression of the CT, and a diffusion of the residual that it leaves open.

CT = m(MR) + s·r, with a regression m and a residual r of unit scale. A conditional diffusion learns
the distribution of r given the MR and m (CorrDiff: Mardani et al., arXiv 2309.15214). The residuals
of patients that a regression was trained on are too small: on real heads they were less than a
third of those of new patients. The residual of a training patient therefore comes from a copy of
the regression, whose training continues without the patient's fold.

The scale is s = √(π/2) E|CT - m|, the standard deviation of a normal distribution with this mean
error. Residuals have heavier tails than a normal distribution, and a few large ones dominate their
variance. Scaled by their root mean square, most of the image would be nearly 0.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sde_ct.config import Experiment
from sde_ct.methods.diffusion import Noised, form_of, noised, score_fn
from sde_ct.methods.mirroring import draw_mean, either_orientation
from sde_ct.methods.residual_plan import Networks, Plan
from sde_ct.methods.samplers import MEAN, sampler_fn
from sde_ct.methods.step import advance, keep_finite, mean_over
from sde_ct.models import UNet
from sde_ct.sampling.chain import all_finite
from sde_ct.sde import SDE
from sde_ct.types import Batch, Method, Samples

MEMORY = 0.95  # decay of the moving average of the residual's scale


class Params(NamedTuple):
    """The weights for synthesis."""

    mean: Any
    denoiser: Any
    scale: Float[Array, ""]  # s, in units of ct_std; NaN while the denoiser is untrained


class _Task(NamedTuple):
    """What a network learns from a batch, the mean of weight·|F - target|²."""

    shown: Noised
    weight: Float[Array, "b h w 1"]
    unseen: Float[Array, "b h w 1"]  # weight of pixels whose error is that of the residual


def residual(
    config: Experiment,
    sde: SDE,
    network: UNet,
    axis_name: str | None = None,
    *,
    sampler: str = "ddpm",
) -> Method:
    """Train a regression by least squares, and a diffusion of its residual by score matching.

    If training mirrored images, each draw mirrors the MR with probability 1/2, and mirrors its CT
    back. The mean of several draws then averages over both orientations, which lowers its error.

    Args:
      sampler: the sampler of the residual. `MEAN` instead returns the CT of the regression, as
        the mean of both orientations.
    """
    plan, data = Plan(config), config.data
    form = form_of(config.diffusion, data_mean=0.0, sigma_data=1.0)

    def standard(ct):
        return (ct - data.ct_mean) / data.ct_std

    def regression_input(mr) -> tuple[Array, Array]:
        nothing = jnp.zeros((*mr.shape[:-1], 2))  # in place of the noised residual and the mean
        return jnp.concatenate([nothing, mr], axis=-1), jnp.zeros(len(mr))

    def mean_of(params, mr) -> Float[Array, "b h w 1"]:
        return network.apply(params, *regression_input(mr))  # type: ignore[return-value]

    def to_denoise(state: Networks, keys, batch: Batch, mean) -> Noised:
        rest = (standard(batch.ct) - mean) / state.scale
        shown = jnp.concatenate([mean, batch.mr], axis=-1)
        return noised(keys, rest, shown, sde=sde, form=form, config=config.diffusion)

    def denoising(state: Networks, keys, batch: Batch) -> _Task:
        means = jax.lax.map(lambda copy: mean_of(copy, batch.mr), plan.copies(state))
        mean = jnp.take_along_axis(means, _fold(batch, plan)[None], axis=0)[0]
        shown = to_denoise(state, keys, batch, mean)
        return _Task(shown, batch.valid, jnp.zeros_like(batch.valid))

    def regressing(number, shared, batch: Batch) -> _Task:
        # A copy does not learn from its own fold; the regression, number 0, has none.
        own = jnp.broadcast_to(_fold(batch, plan) == number - 1, batch.valid.shape)
        shown = Noised(*regression_input(batch.mr), standard(batch.ct))
        return _Task(shown, batch.valid * ~own, batch.valid * (own | shared))

    def init(key, batch: Batch, params: Params | None = None) -> Networks:
        if params is None:
            first = network.init(key, *regression_input(batch.mr[:1]))
            return plan.begin(first, None, jnp.ones(()))
        state = plan.begin(params.mean, params.denoiser, params.scale)
        untrained = jnp.isnan(params.scale)
        return state._replace(warm=untrained, scale=jnp.where(untrained, 1.0, params.scale))

    def update(state: Networks, keys, batch: Batch):
        state, turn = plan.turn(state, batch.epoch[0])  # type: ignore[index]
        task = jax.lax.cond(
            turn.number == plan.denoiser,
            lambda: denoising(state, keys, batch),
            lambda: regressing(turn.number, turn.shared, batch),
        )

        def loss(params):
            output = network.apply(params, task.shown.inputs, task.shown.label)
            error = output - task.shown.target
            sizes = jnp.mean(task.unseen * jnp.abs(error)), jnp.mean(task.unseen)
            return jnp.mean(task.weight * error**2), sizes

        before = state.active, state.scale, state.step
        (value, sizes), gradient = jax.value_and_grad(loss, has_aux=True)(state.active.params)
        figures, gradient = mean_over(axis_name, (value, *sizes), gradient)
        metrics = {"loss": figures[0], "gradient_norm": jnp.linalg.norm(gradient)}
        optimiser = plan.optimiser(turn.rate)
        trained = advance(state.active, gradient, optimiser, config.training.ema)
        size = jnp.sqrt(jnp.pi / 2) * figures[1] / figures[2]
        newest = MEMORY * state.scale + (1 - MEMORY) * size
        scale = jnp.where(figures[2] > 0, newest, state.scale)
        after, metrics["skipped"] = keep_finite(
            (trained, scale, state.step + 1), before, list(metrics.values())
        )
        state = state._replace(active=after[0], scale=after[1], step=after[2])
        return state, metrics | {"learning_rate": turn.rate, "network": turn.number}

    def loss(state: Networks, keys, batch: Batch):
        """The denoiser's loss, with residuals of the regression, and the regression's loss.

        The denoiser's loss is NaN while it is untrained: no checkpoint without draws is the best.
        """
        params = for_synthesis(state)
        mean = mean_of(params.mean, batch.mr)
        shown = to_denoise(state, keys, batch, mean)
        output = network.apply(params.denoiser, shown.inputs, shown.label)
        denoiser_loss = jnp.mean(batch.valid * (output - shown.target) ** 2)  # type: ignore[operator]
        figures = (
            jnp.where(jnp.isnan(params.scale), jnp.nan, denoiser_loss),
            jnp.mean(batch.valid * (mean - standard(batch.ct)) ** 2),
        )
        return dict(zip(("loss", "mean_loss"), mean_over(axis_name, figures)[0], strict=True))

    def for_synthesis(state: Networks) -> Params:
        untrained = state.warm & (state.denoised < 0)
        return Params(*plan.trained(state), jnp.where(untrained, jnp.nan, state.scale))

    if sampler == MEAN:
        alone = draw_mean(lambda params, mr: mean_of(params.mean, mr), data)
        return Method(init, update, loss, for_synthesis, alone, is_random=False)
    run = sampler_fn(sampler, config, sde)

    def draw(params: Params, keys, mr) -> Samples:
        mean = mean_of(params.mean, mr)
        shown = jnp.concatenate([mean, mr], axis=-1)
        score = score_fn(params.denoiser, shown, sde=sde, network=network, form=form)
        rest = run(keys, sde, score, mean.shape)
        ct = data.ct_mean + data.ct_std * (mean + params.scale * rest.x)
        return Samples(ct, rest.nfe + 1, rest.ok & all_finite(ct))

    both = either_orientation(draw) if data.flip else draw
    return Method(init, update, loss, for_synthesis, both, is_random=True)


def has_draws(params: Any) -> bool:
    """Whether a method can draw with these weights; False while a denoiser is untrained."""
    return not (isinstance(params, Params) and bool(jnp.isnan(params.scale)))


def _fold(batch: Batch, plan: Plan) -> Int[Array, "b 1 1 1"]:
    return (batch.group % plan.folds)[:, None, None, None]  # type: ignore[index, operator]
