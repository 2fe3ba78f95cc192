"""The loop of all samplers that take a fixed number of steps on a time grid."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sde_ct.sampling.keys import fold, sample_keys
from sde_ct.sde import SDE, denoised
from sde_ct.types import Samples, ScoreFn


class Step(NamedTuple):
    """One step on the grid, from t to the next time s < t."""

    t: Float[Array, " b"]
    s: Float[Array, " b"]
    keys: Key[Array, " b"]  # the random keys of this step, one for each sample
    first: Bool[Array, ""]
    last: Bool[Array, ""]
    # The update multiplies the noise that it adds by this. It is 0 in the last step if no denoising
    # follows, and 1 otherwise.
    noise: Float[Array, ""]


# One step of a sampler: (x(t), step, memory) -> (x(s), memory for the next step).
Update = Callable[[Float[Array, "b *d"], Step, Any], tuple[Float[Array, "b *d"], Any]]


def descend(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    times: Float[Array, " steps+1"],
    update: Update,
    *,
    nfe: int,
    denoise: bool,
    memory: Any = None,
) -> Samples:
    """Draw x(1) from the prior and apply `update` to each pair of neighbouring `times`.

    Args:
      nfe: the number of score evaluations that all updates make together.
      denoise: return E[x(0) | x(end)]. The last step then adds noise like the others, because
        denoising removes it. A grid that ends at t = 0 leaves nothing to denoise: x(0) is returned.
      memory: what the first update gets as its memory.
    """
    batch, last = shape[0], len(times) - 2
    keys = sample_keys(key, batch)
    denoises = denoise & (times[-1] > 0)

    def body(carry, at):
        index, t, s = at
        step = Step(
            t=jnp.full(batch, t),
            s=jnp.full(batch, s),
            keys=fold(keys, index + 1),
            first=index == 0,
            last=index == last,
            noise=jnp.where((index < last) | denoises, 1.0, 0.0),
        )
        return update(carry[0], step, carry[1]), None

    start = sde.prior(fold(keys, 0), shape)
    over = (jnp.arange(last + 1), times[:-1], times[1:])
    (x, _), _ = jax.lax.scan(body, (start, memory), over)
    if denoise:
        end = jnp.full(batch, times[-1])
        x, nfe = jnp.where(denoises, denoised(sde, score(x, end), x, end), x), nfe + 1
    return Samples(x=x, nfe=jnp.full(batch, nfe, jnp.int32), ok=all_finite(x))


def all_finite(x: Float[Array, "b *d"]) -> Bool[Array, " b"]:
    """Whether all elements of each sample are finite."""
    return jnp.isfinite(x).all(axis=tuple(range(1, x.ndim)))
