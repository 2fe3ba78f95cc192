"""The training step that the diffusion and the regression method share, and its parts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from sde_ct.config import TrainingConfig
from sde_ct.types import Method

Loss = Callable[[Any, Array, Any], Array]  # (params, keys [b], batch) -> mean over the batch


class TrainState(NamedTuple):
    """Parameters, their moving average (None where none is kept), optimiser and step count."""

    params: Any
    ema: Any
    optimiser: optax.OptState
    step: Int[Array, ""]


def adam(config: TrainingConfig, learning_rate: float | None = None, **options) -> Any:
    """Adam with linear warm-up, optional cosine decay and clipping of the gradient's norm."""
    peak = config.learning_rate if learning_rate is None else learning_rate
    if config.decay:
        rate = optax.warmup_cosine_decay_schedule(0.0, peak, config.warmup, config.steps)
    elif config.warmup:
        rate = optax.linear_schedule(0.0, peak, config.warmup)
    else:
        rate = peak
    clip = [optax.clip_by_global_norm(config.clip)] if config.clip else []
    return optax.chain(*clip, optax.adam(rate, **options))


def moving_average(ema: Any, params: Any, decay: float, step: Array) -> Any:
    """Exponential moving average; the decay starts low so that early parameters are forgotten."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, ema, params)


def mean_over(axis_name: str | None, tree: Any) -> Any:
    """The mean over devices, where there is an axis of them."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def supervised(
    initialise: Callable[[Array, Any], Any],
    loss: Loss,
    config: TrainingConfig,
    axis_name: str | None = None,
) -> Method:
    """The method that minimises `loss` with Adam; gradients averaged over `axis_name`."""
    optimiser = adam(config)

    def init(key, batch):
        params = initialise(key, batch)
        # A copy: state buffers are donated, and one buffer can't be donated twice.
        ema = jax.tree.map(jnp.copy, params) if config.ema else None
        return TrainState(params, ema, optimiser.init(params), jnp.zeros((), jnp.int32))

    def update(state, keys, batch):
        value, gradient = jax.value_and_grad(loss)(state.params, keys, batch)
        value, gradient = mean_over(axis_name, (value, gradient))
        step, optimiser_state = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, step)
        ema = moving_average(state.ema, params, config.ema, state.step) if config.ema else None
        metrics = {"loss": value, "gradient_norm": optax.global_norm(gradient)}
        return TrainState(params, ema, optimiser_state, state.step + 1), metrics

    def weights(state):
        return state.ema if config.ema else state.params

    def evaluate(state, keys, batch):
        return mean_over(axis_name, {"loss": loss(weights(state), keys, batch)})

    return Method(init, update, evaluate, weights)
