"""The training step of the CNN and of a diffusion, and the parts that all methods share."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from sde_ct.config import TrainingConfig
from sde_ct.types import Method, Samples

Loss = Callable[[Any, Array, Any], Array]  # (params, keys [b], batch) -> mean over the batch


class TrainState(NamedTuple):
    """What training one network carries from step to step.

    The moving average and the optimiser's moments are single vectors over all parameters, in the
    order of `ravel_pytree`. A step then takes one loop over memory and one collective instead of a
    hundred, and the compiled step is a third smaller. `optax.flatten` gives the same moments, but
    it would concatenate gradient and parameters again, which are vectors here already.
    """

    params: Any
    ema: Float[Array, " n"] | None  # None where no average is kept
    optimiser: optax.OptState
    step: Int[Array, ""]  # updates made, without skipped ones


def fresh(params: Any, optimiser: optax.GradientTransformation, ema: float) -> TrainState:
    """The state before the first step; `ema` is the decay of the moving average, 0 for none."""
    vector = ravel_pytree(params)[0]
    # A copy, because buffers of the state are donated and no buffer can be donated twice.
    average = jnp.copy(vector) if ema else None
    return TrainState(params, average, optimiser.init(vector), jnp.zeros((), jnp.int32))


def advance(
    state: TrainState,
    gradient: Float[Array, " n"],
    optimiser: optax.GradientTransformation,
    ema: float,
) -> TrainState:
    """The state after one step of the optimiser and of the moving average.

    The decay of the average rises from 0.1 to `ema`, so that it forgets early parameters. The
    decay of `optax.ema` is constant, and its debiasing gives the first parameters more weight.
    """
    vector, unravel = ravel_pytree(state.params)
    change, optimiser_state = optimiser.update(gradient, state.optimiser, vector)
    vector = vector + change
    average = None
    if ema:
        decay = jnp.minimum(ema, (1.0 + state.step) / (10.0 + state.step))
        average = decay * state.ema + (1 - decay) * vector  # type: ignore[operator]
    return TrainState(unravel(vector), average, optimiser_state, state.step + 1)


def weights(state: TrainState) -> Any:
    """The parameters for synthesis: the moving average, or the last ones where none is kept."""
    return state.params if state.ema is None else ravel_pytree(state.params)[1](state.ema)


def keep_finite(new: Any, old: Any, values: Sequence[Float[Array, ""]]) -> tuple[Any, Array]:
    """(`new`, 0.0), or (`old`, 1.0) where a loss or gradient norm in `values` is not finite.

    `optax.apply_if_finite` would not do: it protects one optimiser, but neither the moving average
    nor a second network, and after several failures in a row it applies the bad updates.
    """
    finite = jnp.isfinite(jnp.stack(values)).all()
    state = jax.tree.map(lambda one, other: jnp.where(finite, one, other), new, old)
    return state, 1.0 - finite


def schedule(config: TrainingConfig, peak: float) -> optax.Schedule:
    """The learning rate by update: a linear warm-up to `peak`, then constant or a cosine decay."""
    first = peak / max(config.warmup, 1)  # at 0 the first update would change nothing
    if config.decay:
        return optax.warmup_cosine_decay_schedule(first, peak, config.warmup, config.steps)
    if config.warmup:
        return optax.linear_schedule(first, peak, config.warmup)
    return optax.constant_schedule(peak)


def adam(config: TrainingConfig, learning_rate: float | None = None, **options) -> Any:
    """Adam on `schedule`, with clipping of the gradient's norm."""
    peak = config.learning_rate if learning_rate is None else learning_rate
    clip = [optax.clip_by_global_norm(config.clip)] if config.clip else []
    return optax.chain(*clip, optax.adam(schedule(config, peak), **options))


def mean_over(axis_name: str | None, *trees: Any) -> list[Float[Array, " n"]]:
    """Each tree as one vector, averaged over `axis_name` by one all-reduce; None: no averaging."""
    vectors = [ravel_pytree(tree)[0] for tree in trees]
    if axis_name is None:
        return vectors
    joined = jax.lax.pmean(jnp.concatenate(vectors), axis_name)
    return jnp.split(joined, list(itertools.accumulate(len(v) for v in vectors[:-1])))


def figures_over(axis_name: str | None, figures: dict[str, Array]) -> dict[str, Array]:
    """Named figures, averaged over `axis_name`; None: no averaging."""
    return dict(zip(sorted(figures), mean_over(axis_name, figures)[0], strict=True))


def supervised(
    initialise: Callable[[Array, Any], Any],
    loss: Loss,
    config: TrainingConfig,
    axis_name: str | None = None,
    *,
    draw: Callable[..., Samples],
    is_random: bool,
) -> Method:
    """The method that minimises `loss` with Adam, on gradients averaged over `axis_name`."""
    optimiser, rate = adam(config), schedule(config, config.learning_rate)

    def init(key, batch, params=None):
        params = initialise(key, batch) if params is None else params
        return fresh(params, optimiser, config.ema)

    def update(state, keys, batch):
        value, gradient = jax.value_and_grad(loss)(state.params, keys, batch)
        (value,), gradient = mean_over(axis_name, value, gradient)
        metrics = {"loss": value, "gradient_norm": jnp.linalg.norm(gradient)}
        new = advance(state, gradient, optimiser, config.ema)
        new, metrics["skipped"] = keep_finite(new, state, list(metrics.values()))
        return new, metrics | {"learning_rate": rate(state.step)}

    def evaluate(state, keys, batch):
        return {"loss": mean_over(axis_name, loss(weights(state), keys, batch))[0][0]}

    return Method(init, update, evaluate, weights, draw, is_random)
