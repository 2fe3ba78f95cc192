"""Monte-Carlo ensembles of draws."""

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
    """Draw `draws` times and return the draws, their mean and their standard deviation.

    The mean is the paper's "-M" image and the standard deviation its spread map (arXiv 2209.12104,
    with 10 draws). Draw m uses fold_in(key, m), so it does not depend on `draws`. The draws are
    made one after another, so memory holds the work of one.

    This is for your own score functions. Synthesis computes mean and spread later, on the MR's
    grid, by `uncertainty.draws.moments`, because interpolation changes the spread.

    Args:
      sample: key -> Samples of [b, *d], such as a sampler with all other arguments given.
      key: one key, or [b] keys if `sample` takes one for each sample.
      draws: number of draws, m; fewer than 1 raises InputError. With 1 the std is NaN.
    """
    if draws < 1:
        raise InputError(f"draws: must be at least 1, got {draws}.")
    x, nfe, ok = jax.lax.map(lambda draw: sample(fold(key, draw)), jnp.arange(draws))
    return Ensemble(mean=x.mean(axis=0), std=x.std(axis=0, ddof=1), draws=x, nfe=nfe, ok=ok)
