"""The state before the first step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from sde_ct.config import Experiment
from sde_ct.runtime import parallel
from sde_ct.types import Batch, Method


def fresh_state(method: Method, config: Experiment, size: tuple[int, int]) -> Any:
    """The training state before the first step, for slices of `size` (h, w)."""
    mr = jnp.zeros((1, *size, 1 + 2 * config.data.neighbours))
    one = jnp.zeros((1, *size, 1))
    return method.init(jax.random.key(config.training.seed), Batch(mr, one, one))


def initialised(fresh: Callable[[], Any]) -> Any:
    """`fresh()`, compiled to run once."""
    return parallel.seldom(fresh)()
