"""A regression of the CT, and a diffusion of the residual that it leaves open.

CT = m(MR) + s·r, with a regression m and a residual r of unit variance, whose law given MR and m a
conditional diffusion learns (CorrDiff: Mardani et al., arXiv 2309.15214). Residuals of the patients
that a regression has learnt from are too small: on real heads less than a third of those of new
patients. The residual of a training patient is therefore that of a copy of the regression which
goes on without the patient's fold.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sde_ct.config import Experiment
from sde_ct.methods.diffusion import Noised, form_of, noised, score_fn
from sde_ct.methods.residual_plan import Plan
from sde_ct.methods.samplers import sampler_fn
from sde_ct.methods.step import TrainState, advance, fresh, keep_finite, mean_over, weights
from sde_ct.models import UNet
from sde_ct.sampling.chain import all_finite
from sde_ct.sde import SDE
from sde_ct.types import Batch, Method, Samples

MEAN = "mean"  # the value of --sampler that returns the regression alone
MEMORY = 0.95  # decay of the moving average of the residual's variance


class Networks(NamedTuple):
    """What training carries from step to step.

    The networks have one shape, so that copies and denoiser can begin with the regression's
    weights, and one compiled gradient serves them all. A step trains one of them.
    """

    stacked: TrainState  # [regression, one copy for each fold, denoiser]
    variance: Float[Array, ""]  # of the residual, in units of ct_std²
    warm: Bool[Array, ""]  # whether the denoiser begins with the regression's weights


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
    """Least squares, and denoising score matching of what it leaves open.

    A draw shows the networks the MR or its mirror image, at random, if training mirrored images
    too. The mean of several draws is then more accurate than that of one orientation.

    Args:
      sampler: of the residual; `MEAN` returns the regression's CT, the mean of both orientations.
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
        rest = (standard(batch.ct) - mean) / jnp.sqrt(state.variance)
        shown = jnp.concatenate([mean, batch.mr], axis=-1)
        return noised(keys, rest, shown, sde=sde, form=form, config=config.diffusion)

    def denoising(state: Networks, keys, batch: Batch) -> _Task:
        fold = _fold(batch, plan)
        mean = jnp.zeros_like(batch.ct)
        for number in range(plan.folds):
            unseen = mean_of(weights(_member(state.stacked, 1 + number)), batch.mr)
            mean = jnp.where(fold == number, unseen, mean)
        shown = to_denoise(state, keys, batch, mean)
        return _Task(shown, batch.valid, jnp.zeros_like(batch.valid))

    def regressing(number, shared, batch: Batch) -> _Task:
        # A copy does not learn from its own fold; the regression, number 0, has none.
        own = jnp.broadcast_to(_fold(batch, plan) == number - 1, batch.valid.shape)
        shown = Noised(*regression_input(batch.mr), standard(batch.ct))
        return _Task(shown, batch.valid * ~own, batch.valid * (own | shared))

    def init(key, batch: Batch, params: Params | None = None) -> Networks:
        if params is None:
            first = last = network.init(key, *regression_input(batch.mr[:1]))
            variance, warm = jnp.ones(()), jnp.asarray(True)
        else:
            first, last = params.mean, params.denoiser
            warm = jnp.isnan(params.scale)
            variance = jnp.where(warm, 1.0, params.scale**2)
        members = [first] * (1 + plan.folds) + [last]
        states = [fresh(each, plan.optimiser(0.0), config.training.ema) for each in members]
        return Networks(jax.tree.map(lambda *x: jnp.stack(x), *states), variance, warm)

    def update(state: Networks, keys, batch: Batch):
        number, shared = plan.turn(state.stacked.step, batch.epoch[0])  # type: ignore[index]
        rate = plan.rate(state.stacked.step.sum())
        member = _begun(state, number, plan, config.training.ema)
        task = jax.lax.cond(
            number == plan.denoiser,
            lambda: denoising(state, keys, batch),
            lambda: regressing(number, shared, batch),
        )

        def loss(params):
            output = network.apply(params, task.shown.inputs, task.shown.label)
            error = (output - task.shown.target) ** 2
            squares = jnp.mean(task.unseen * error), jnp.mean(task.unseen)
            return jnp.mean(task.weight * error), squares

        (value, squares), gradient = jax.value_and_grad(loss, has_aux=True)(member.params)
        figures, gradient = mean_over(axis_name, (value, *squares), gradient)
        metrics = {"loss": figures[0], "gradient_norm": jnp.linalg.norm(gradient)}
        trained = advance(member, gradient, plan.optimiser(rate), config.training.ema)
        newest = MEMORY * state.variance + (1 - MEMORY) * figures[1] / figures[2]
        variance = jnp.where(figures[2] > 0, newest, state.variance)
        (trained, variance), metrics["skipped"] = keep_finite(
            (trained, variance), (member, state.variance), list(metrics.values())
        )
        # Written into the donated state, of which the other networks are not touched.
        stacked = jax.tree.map(lambda every, one: every.at[number].set(one), state.stacked, trained)
        return Networks(stacked, variance, state.warm), metrics | {"learning_rate": rate}

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
        mean, denoiser = (_member(state.stacked, number) for number in (0, plan.denoiser))
        untrained = state.warm & (denoiser.step == 0)
        scale = jnp.where(untrained, jnp.nan, jnp.sqrt(state.variance))
        return Params(weights(mean), weights(denoiser), scale)

    def draw_mean(params: Params, keys, mr) -> Samples:
        mean = mean_of(params.mean, mr)
        if data.flip:
            mean = (mean + mirrored(mean_of(params.mean, mirrored(mr)))) / 2
        ct = data.ct_mean + data.ct_std * mean
        return Samples(ct, jnp.full(len(ct), 1 + data.flip), all_finite(ct))

    if sampler == MEAN:
        return Method(init, update, loss, for_synthesis, draw_mean, is_random=False)
    run = sampler_fn(sampler, config, sde)

    def draw(params: Params, keys, mr) -> Samples:
        turned = data.flip & jax.vmap(jax.random.bernoulli)(keys)[:, None, None, None]
        mr = jnp.where(turned, mirrored(mr), mr)
        mean = mean_of(params.mean, mr)
        shown = jnp.concatenate([mean, mr], axis=-1)
        score = score_fn(params.denoiser, shown, sde=sde, network=network, form=form)
        rest = run(keys, sde, score, mean.shape)
        ct = data.ct_mean + data.ct_std * (mean + params.scale * rest.x)
        ct = jnp.where(turned, mirrored(ct), ct)
        return Samples(ct, rest.nfe + 1, rest.ok & all_finite(ct))

    return Method(init, update, loss, for_synthesis, draw, is_random=True)


def has_draws(params: Any) -> bool:
    """Whether there are draws with the weights of any method: not before a denoiser is trained."""
    return not (isinstance(params, Params) and bool(jnp.isnan(params.scale)))


def mirrored(image: Float[Array, "b h w k"]) -> Float[Array, "b h w k"]:
    """Left and right exchanged."""
    return image[:, :, ::-1]


def _fold(batch: Batch, plan: Plan) -> Int[Array, "b 1 1 1"]:
    return (batch.group % plan.folds)[:, None, None, None]  # type: ignore[index, operator]


def _member(stacked: TrainState, number: int | Int[Array, ""]) -> TrainState:
    return jax.tree.map(lambda every: every[number], stacked)


def _begun(state: Networks, number: Int[Array, ""], plan: Plan, ema: float) -> TrainState:
    """The network whose turn it is. Copies continue the regression, with its Adam moments; the
    denoiser begins with the regression's averaged weights."""
    member, regression = _member(state.stacked, number), _member(state.stacked, 0)
    copy = regression._replace(step=jnp.zeros((), jnp.int32))
    denoiser = fresh(weights(regression), plan.optimiser(0.0), ema)
    start = jax.tree.map(lambda a, b: jnp.where(number < plan.denoiser, a, b), copy, denoiser)
    begins = (number > 0) & (member.step == 0) & (state.warm | (number < plan.denoiser))
    return jax.tree.map(lambda a, b: jnp.where(begins, a, b), start, member)
