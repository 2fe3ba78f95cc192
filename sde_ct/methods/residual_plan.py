"""Which network of the residual method a step trains, and what begins with whose weights."""

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
    """What training carries from step to step: the network in training, and weights of others.

    All networks have one shape, so that one begins with another's weights and one compiled
    gradient serves them all. Number 0 is the regression, then follow its copies and the denoiser.
    """

    active: TrainState
    number: Int[Array, ""]  # of the active network
    kept: Float[Array, "slots n"]  # [start of the copies, regression, copies, a given denoiser]
    step: Int[Array, ""]  # updates of all networks
    parted: Int[Array, ""]  # the step at which the copies parted; -1 before
    denoised: Int[Array, ""]  # the denoiser's first step; -1 before
    scale: Float[Array, ""]  # s, in units of ct_std
    warm: Bool[Array, ""]  # whether the denoiser begins with the regression's weights


class Turn(NamedTuple):
    """What a step does."""

    number: Int[Array, ""]  # of the network that it trains
    shared: Bool[Array, ""]  # whether that is the regression before the copies part
    rate: Float[Array, ""]  # learning rate


class Plan:
    """The order of training: the regression, then a copy for each fold, then the denoiser.

    The copies start from the regression after `shared_epochs` passes over the data, before it has
    memorised single patients. The remaining steps of this part are divided equally among the
    regression and its copies. Each of them follows the rest of one learning-rate schedule, and the
    denoiser has a schedule of its own.
    """

    def __init__(self, config: Experiment):
        self._residual, self._training = config.residual, config.training
        self.folds = config.residual.folds
        self.denoiser = 1 + self.folds  # its number
        share = round(config.residual.denoiser_share * config.training.steps)
        self.first = config.training.steps - max(share, 1)  # the denoiser's first step

    def begin(self, first: Any, last: Any | None, scale: Float[Array, ""]) -> Networks:
        """The state before the first step, from the weights of regression and denoiser.

        Without the latter, the denoiser will begin with the regression's.
        """
        given = first if last is None else last
        kept = jnp.zeros((3 + self.folds, ravel_pytree(given)[0].size))
        never, not_yet = -jnp.ones((2,), jnp.int32)  # two buffers, because a state is donated
        return Networks(
            active=fresh(first, self.optimiser(0.0), self._training.ema),
            number=jnp.zeros((), jnp.int32),
            kept=kept.at[-1].set(ravel_pytree(given)[0]),
            step=jnp.zeros((), jnp.int32),
            parted=never,
            denoised=not_yet,
            scale=scale,
            warm=jnp.asarray(last is None),
        )

    def turn(self, state: Networks, epoch: Int[Array, ""]) -> tuple[Networks, Turn]:
        """The state in which the network of this step is active, and the step's settings."""
        step, total = state.step, self._training.steps
        ends = (state.denoised >= 0) | (step >= self.first)
        early = (epoch < self._residual.shared_epochs) | (step + 1 + self.folds > self.first)
        shared = ~ends & (state.parted < 0) & early  # no parting without a step for each
        parted = jnp.where(ends | shared | (state.parted >= 0), state.parted, step)
        denoised = jnp.where(ends & (state.denoised < 0), step, state.denoised)
        each = jnp.maximum((self.first - parted) // (1 + self.folds), 1)
        block = jnp.clip((step - parted) // each, 0, self.folds)
        number = jnp.where(ends, self.denoiser, jnp.where(shared, 0, block))
        within = parted + (1 + self.folds) * (step - parted - block * each)
        place = jnp.where(shared, step, jnp.clip(within, 0, self.first - 1))
        # The steps of a prolonged training are the denoiser's, if that has begun.
        late = (step - denoised) * (total - self.first) / jnp.maximum(total - denoised, 1)
        rate = jnp.where(
            ends, self._schedule(total - self.first)(late), self._schedule(self.first)(place)
        )
        state = self._change(state, number, parts=parted != state.parted)
        return state._replace(parted=parted, denoised=denoised), Turn(number, shared, rate)

    def _change(self, state: Networks, number: Int[Array, ""], parts: Bool[Array, ""]) -> Networks:
        """Keep weights where the copies part or another network begins, and begin with that one.

        One slot is written and one set of weights selected, whether or not anything changes. A
        conditional would copy all of the state in every step.
        """
        raw, unravel = ravel_pytree(state.active.params)
        ready = ravel_pytree(weights(state.active))[0]
        begins, slot = number != state.number, jnp.where(parts, 0, 1 + state.number)
        value = jnp.where(parts, raw, jnp.where(begins, ready, state.kept[slot]))
        kept = state.kept.at[slot].set(value)
        last = jnp.where(state.warm, kept[1], kept[-1])
        start = unravel(jnp.where(number == self.denoiser, last, kept[0]))
        begun = fresh(start, self.optimiser(0.0), self._training.ema)
        active = jax.tree.map(lambda a, b: jnp.where(begins, a, b), begun, state.active)
        return state._replace(active=active, kept=kept, number=number)

    def copies(self, state: Networks) -> Any:
        """The weights of the copies, stacked; those of the regression if they have not parted."""
        unravel = ravel_pytree(state.active.params)[1]
        return jax.vmap(unravel)(jnp.where(state.parted < 0, state.kept[1], state.kept[2:-1]))

    def trained(self, state: Networks) -> tuple[Any, Any]:
        """The weights of regression and denoiser for synthesis."""
        unravel, now = ravel_pytree(state.active.params)[1], weights(state.active)
        mean, last = unravel(state.kept[1]), unravel(state.kept[-1])
        first = state.number == 0
        ends = state.number == self.denoiser
        return (
            jax.tree.map(lambda a, b: jnp.where(first, a, b), now, mean),
            jax.tree.map(lambda a, b: jnp.where(ends, a, b), now, last),
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
