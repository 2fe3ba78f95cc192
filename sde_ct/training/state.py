"""The training state before the first step, and the random keys of every step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sde_ct.config import Experiment
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import seed_key
from sde_ct.types import Batch, Method


def fresh_state(
    method: Method, config: Experiment, size: tuple[int, int], weights: Any = None
) -> Any:
    """The training state before the first step, for slices of `size` (h, w).

    `weights`, as `method.weights` returns them, replace the random ones where they are given.
    """
    mr = jnp.zeros((1, *size, config.data.channels))
    one = jnp.zeros((1, *size, 1))
    given = () if weights is None else (weights,)  # a method may take none
    return method.init(seed_key(config.training.seed), Batch(mr, one, one), *given)


def initialised(fresh: Callable[..., Any], **options: Any) -> Any:
    """`fresh(**options)`, compiled to run once."""
    return parallel.seldom(fresh)(**options)


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def example_keys(seed: int, step: int, count: int, first: int = 0) -> jax.Array:
    """One key for each of the examples `first`, `first + 1`, … of a batch.

    A key depends only on seed, step and the example's number, so it does not matter how the batch
    is spread over devices and processes.
    """
    key = jax.random.fold_in(seed_key(seed), step)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(first, first + count))
