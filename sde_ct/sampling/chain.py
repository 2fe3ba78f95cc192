"""What the samplers with a fixed number of steps share: from the prior down the grid."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sde_ct.sampling.keys import fold, sample_keys
from sde_ct.sde import SDE, denoised
from sde_ct.types import Samples, ScoreFn


class Step(NamedTuple):
    """One step of the grid, from t down to s < t."""

    t: Float[Array, " b"]
    s: Float[Array, " b"]
    keys: Key[Array, " b"]  # this step's own, one a sample
    first: Bool[Array, ""]
    last: Bool[Array, ""]
    noise: Float[Array, ""]  # 0 in a step after which nothing takes noise out again, else 1


class Update(Protocol):
    """x(t) -> x(s), and what the next step may want to remember of this one."""

    def __call__(
        self, x: Float[Array, "b *d"], step: Step, memory: Any
    ) -> tuple[Float[Array, "b *d"], Any]: ...


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
    """Draw x(1) from the prior and scan `update` over the neighbours of `times`.

    `denoise`: end in E[x(0) | x(end)], one more evaluation of the score, which changes nothing
    where the end is t = 0. The last step then puts in its noise, which this takes out.
    `memory`: what the first step is given as such.
    """
    batch = shape[0]
    keys = sample_keys(key, batch)
    steps = len(times) - 1
    cleaned = denoise & (times[-1] > 0)

    def body(carry, at):
        index, t, s = at
        step = Step(
            t=jnp.full(batch, t),
            s=jnp.full(batch, s),
            keys=fold(keys, index + 1),
            first=index == 0,
            last=index == steps - 1,
            noise=jnp.where((index < steps - 1) | cleaned, 1.0, 0.0),
        )
        return update(carry[0], step, carry[1]), None

    start = sde.prior(fold(keys, 0), shape)
    over = (jnp.arange(steps), times[:-1], times[1:])
    (x, _), _ = jax.lax.scan(body, (start, memory), over)
    if denoise:
        end = jnp.full(batch, times[-1])
        x, nfe = jnp.where(cleaned, denoised(sde, score(x, end), x, end), x), nfe + 1
    return Samples(x=x, nfe=jnp.full(batch, nfe, jnp.int32), ok=all_finite(x))


def all_finite(x: Float[Array, "b *d"]) -> Bool[Array, " b"]:
    """Whether each sample is finite throughout."""
    return jnp.isfinite(x).all(axis=tuple(range(1, x.ndim)))
