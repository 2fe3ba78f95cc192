"""Time grids: plain functions (sde, steps) -> times [steps + 1], descending from t = 1.

A sampler's step is the difference of two neighbours. `end` stays above 0 where the score has its
singularity; 1e-3 is the paper's. Another end: `functools.partial(uniform_time, end=1e-5)`.
"""

from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.errors import InputError
from sde_ct.sde import SDE


class Grid(Protocol):
    """A time grid."""

    def __call__(self, sde: SDE, steps: int) -> Float[Array, " steps+1"]: ...


def uniform_time(sde: SDE, steps: int, *, end: float = 1e-3) -> Float[Array, " steps+1"]:
    """Equal steps in t from 1 to `end` in [0, 1). Raises InputError for steps < 1."""
    check_steps(steps)
    return jnp.linspace(1.0, end, steps + 1)


def uniform_log_snr(sde: SDE, steps: int, *, end: float = 1e-3) -> Float[Array, " steps+1"]:
    """Equal steps in log SNR = 2 log(alpha / std), from t = 1 to `end` in (0, 1).

    The noise level falls by the same factor each step. Raises InputError for steps < 1.
    """
    check_steps(steps)
    first, last = jnp.log(sde.noise_ratio(1.0)), jnp.log(sde.noise_ratio(end))
    times = sde.time(jnp.exp(jnp.linspace(first, last, steps + 1)))
    return times.at[0].set(1.0).at[-1].set(end)


def karras(
    sde: SDE, steps: int, *, end: float = 1e-3, rho: float = 7.0
) -> Float[Array, " steps+1"]:
    """Equal steps in (std / alpha)^(1/rho), from t = 1 to `end` in (0, 1).

    (arXiv 2206.00364, eq. 5; rho = 7 there.) For `VPSDE()` and `VESDE.from_sigma(25)` it is
    denser at low noise than equal steps in t, and less dense than equal steps in log SNR.

    Raises InputError for steps < 1.
    """
    check_steps(steps)
    first, last = sde.noise_ratio(1.0) ** (1 / rho), sde.noise_ratio(end) ** (1 / rho)
    times = sde.time(jnp.linspace(first, last, steps + 1) ** rho)
    return times.at[0].set(1.0).at[-1].set(end)


def check_steps(steps: int) -> None:
    if steps < 1:
        raise InputError(f"steps: must be at least 1, got {steps}.")
