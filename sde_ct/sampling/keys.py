"""Randomness by sample: each draws all its noise from its own key, whatever stands beside it."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from sde_ct.errors import InputError


def seed_key(seed: int) -> Key[Array, ""]:
    """The key of a seed, by Threefry whatever generator JAX is set to.

    Under other generators a sample's numbers depend on its place in a batch.
    """
    return jax.random.key(seed, impl="threefry2x32")


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
    """A Threefry key from any key: typed or `jax.random.PRNGKey`'s raw words, of any generator.

    Other generators give a sample numbers that depend on its place in a batch. A key of more than
    Threefry's two words is folded into one of two.
    """
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if "fry" in str(key.dtype):
            return key
        key = jax.random.key_data(key)
    first, *others = jnp.moveaxis(key.reshape(*key.shape[:-1], -1, 2), -2, 0)
    typed = jax.random.wrap_key_data(first, impl="threefry2x32")
    for words in others:
        typed = jnp.vectorize(jax.random.fold_in)(typed, words[..., 0] ^ words[..., 1])
    return typed


def slice_keys(seed: int, case: int, slices: ArrayLike, draws: ArrayLike) -> Key[Array, " b"]:
    """One key a sample, from (seed, case, slice, draw) alone."""
    base = jax.random.fold_in(seed_key(seed), case)
    return jax.vmap(lambda z, draw: fold(fold(base, z), draw))(slices, draws)
