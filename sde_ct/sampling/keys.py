"""Random keys, one for each sample, so that its noise does not depend on the rest of its batch.

All keys are converted to Threefry keys, because with JAX's other generators the noise of a sample
depends on its place in the batch.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from sde_ct.errors import InputError

_fold_in = jnp.vectorize(jax.random.fold_in)


def seed_key(seed: int) -> Key[Array, ""]:
    """The Threefry key of a seed, whatever generator JAX is set to."""
    return jax.random.key(seed, impl="threefry2x32")


def sample_keys(key: Key[Array, "..."], batch: int) -> Key[Array, " b"]:
    """[b] keys: `fold_in(key, i)` for sample i from one key, or [b] keys as they are.

    Raises InputError for any other number of keys.
    """
    key = as_typed(key)
    if key.ndim == 0:
        return _fold_in(key, jnp.arange(batch))
    if key.shape != (batch,):
        raise InputError(
            f"key: give one key, or one for each of the {batch} samples, not shape {key.shape}."
        )
    return key


def fold(key: Key[Array, "..."], data: ArrayLike) -> Key[Array, "..."]:
    """`fold_in(key, data)` element by element, with broadcasting."""
    return _fold_in(as_typed(key), data)


def as_typed(key: Array) -> Key[Array, "..."]:
    """A Threefry key from a key of any generator, typed or the raw words of `jax.random.PRNGKey`.

    A key of more than Threefry's two words is folded into a key of two words.
    """
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if "fry" in str(key.dtype):
            return key
        key = jax.random.key_data(key)
    first, *others = jnp.moveaxis(key.reshape(*key.shape[:-1], -1, 2), -2, 0)
    typed = jax.random.wrap_key_data(first, impl="threefry2x32")
    for words in others:
        typed = _fold_in(typed, words[..., 0] ^ words[..., 1])
    return typed


def slice_keys(seed: int, case: int, slices: ArrayLike, draws: ArrayLike) -> Key[Array, " b"]:
    """One key for each sample, from its (seed, case, slice, draw) alone."""
    return _slice_keys(seed_key(seed), case, slices, draws)


@jax.jit
def _slice_keys(key: Key[Array, ""], case: Array, slices: Array, draws: Array) -> Key[Array, " b"]:
    return fold(fold(fold(key, case), slices), draws)
