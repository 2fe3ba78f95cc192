"""Which network the residual method trains in a step, and with which weights it begins."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from sde_ct.config import Experiment
from sde_ct.methods.step import TrainState, fresh, schedule, weights


class Networks(NamedTuple):
    """What training carries from step to step: the network in training, and weights of the other.

    Both networks have the same shape, so that the denoiser can begin with the regression's weights
    and one compiled gradient serves both.
    """

    active: TrainState
    regression: Float[Array, " n"]  # its weights for synthesis, once the denoiser is in training
    given: Float[Array, " n"]  # the weights with which a given denoiser begins
    step: Int[Array, ""]  # updates of both networks
    denoised: Int[Array, ""]  # the denoiser's first step; -1 before
    scale: Float[Array, ""]  # s, in units of ct_std
    warm: Bool[Array, ""]  # whether the denoiser begins with the regression's weights


class Plan:
    """The order of training: first the regression, then the denoiser.

    Each has a learning-rate schedule of its own.
    """

    def __init__(self, config: Experiment):
        self._training = config.training
        share = round(config.residual.denoiser_share * config.training.steps)
        self.first = config.training.steps - max(share, 1)  # the denoiser's first step

    def begin(self, first: Any, last: Any | None, scale: Float[Array, ""]) -> Networks:
        """The state before the first step, from the weights of regression and denoiser.

        If `last` is None, the denoiser will begin with the regression's weights.
        """
        given = ravel_pytree(first if last is None else last)[0]
        return Networks(
            active=fresh(first, self.optimiser(0.0), self._training.ema),
            regression=jnp.zeros_like(given),
            given=given,
            step=jnp.zeros((), jnp.int32),
            denoised=-jnp.ones((), jnp.int32),
            scale=scale,
            warm=jnp.asarray(last is None),
        )

    def turn(self, state: Networks) -> tuple[Networks, Float[Array, ""]]:
        """The state in which the network of this step is active, and its learning rate."""
        step, total = state.step, self._training.steps
        begins = (step >= self.first) & (state.denoised < 0)
        state = self._begin_denoiser(state, begins)
        denoised = jnp.where(begins, step, state.denoised)
        # If training is prolonged after the denoiser has begun, the added steps are the denoiser's.
        late = (step - denoised) * (total - self.first) / jnp.maximum(total - denoised, 1)
        rate = jnp.where(
            denoised >= 0,
            self._schedule(total - self.first)(late),
            self._schedule(self.first)(step),
        )
        return state._replace(denoised=denoised), rate

    def _begin_denoiser(self, state: Networks, begins: Bool[Array, ""]) -> Networks:
        """If the denoiser begins, keep the regression's weights and make the denoiser active.

        Every step selects the weights by `where`. A conditional would copy the whole state.
        """
        ready, unravel = ravel_pytree(weights(state.active))
        regression = jnp.where(begins, ready, state.regression)
        start = unravel(jnp.where(state.warm, regression, state.given))
        begun = fresh(start, self.optimiser(0.0), self._training.ema)
        active = jax.tree.map(lambda a, b: jnp.where(begins, a, b), begun, state.active)
        return state._replace(active=active, regression=regression)

    def trained(self, state: Networks) -> tuple[Any, Any]:
        """The weights of regression and denoiser for synthesis."""
        now, unravel = ravel_pytree(weights(state.active))
        denoises = state.denoised >= 0
        return (
            unravel(jnp.where(denoises, state.regression, now)),
            unravel(jnp.where(denoises, now, state.given)),
        )

    def _schedule(self, steps: int) -> optax.Schedule:
        warmup = min(self._training.warmup, steps // 4)
        part = replace(self._training, steps=steps, warmup=warmup)
        return schedule(part, self._training.learning_rate)

    def optimiser(self, rate: Any) -> optax.GradientTransformation:
        """Adam as `step.adam` sets it, at this learning rate."""
        clip = self._training.clip
        parts = [optax.clip_by_global_norm(clip)] if clip else []
        return optax.chain(*parts, optax.scale_by_adam(), optax.scale(-rate))
