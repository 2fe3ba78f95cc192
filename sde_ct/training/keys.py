"""Random keys of training: a function of (seed, step, example) alone."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def example_keys(seed: int, step: int, count: int, first: int = 0) -> jax.Array:
    """Keys of the examples `first` … of a batch, from (seed, step) and the example's number.

    They are the same however the batch is spread over devices and processes.
    """
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(first, first + count))
