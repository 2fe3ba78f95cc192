"""Monte-Carlo ensembles: the mean of independent draws, and their spread."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.errors import InputError
from sde_ct.sampling.keys import fold
from sde_ct.types import Ensemble, Samples


def monte_carlo(
    sample: Callable[[Key[Array, "..."]], Samples], key: Key[Array, "..."], draws: int
) -> Ensemble:
    """Call `sample` `draws` times, with fold_in(key, 0), fold_in(key, 1), …, one after another.

    The mean is the paper's "-M" image, the standard deviation its spread map (arXiv 2209.12104,
    there 10 draws). Draw m is the same whatever `draws` is; memory is that of one draw at work.

    Args:
      sample: key -> Samples of [b, *d], e.g. a sampler with all else given.
      key: one key, or [b] keys, one for each sample, if `sample` takes such.
      draws: how many, m.

    Returns:
      Ensemble; its std, with m - 1, is NaN for a single draw. Raises InputError for draws < 1.
    """
    if draws < 1:
        raise InputError(f"draws: must be at least 1, got {draws}.")
    x, nfe, ok = jax.lax.map(lambda draw: sample(fold(key, draw)), jnp.arange(draws))
    return Ensemble(mean=x.mean(axis=0), std=x.std(axis=0, ddof=1), draws=x, nfe=nfe, ok=ok)
