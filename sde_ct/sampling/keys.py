"""Randomness by sample: each draws all its noise from its own key, whatever stands beside it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.errors import InputError


def sample_keys(key: Key[Array, "..."], batch: int) -> Key[Array, " b"]:
    """[b] keys from one key, `fold_in(key, i)` for sample i; [b] keys are returned as they are.

    Raises InputError for any other number of keys.
    """
    key = as_typed(key)
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch))
    if key.shape != (batch,):
        raise InputError(
            f"key: give one key, or one for each of the {batch} samples, not shape {key.shape}."
        )
    return key


def fold(key: Key[Array, "..."], data: int | Array) -> Key[Array, "..."]:
    """`fold_in(·, data)` of one key, or of each of [b] keys."""
    key = as_typed(key)
    if key.ndim == 0:
        return jax.random.fold_in(key, data)
    return jax.vmap(jax.random.fold_in, (0, None))(key, data)


def as_typed(key: Array) -> Key[Array, "..."]:
    """`jax.random.PRNGKey`'s raw words as a typed key, so that a key is never taken for a batch."""
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return key if typed else jax.random.wrap_key_data(key)
