"""Time grids: functions (sde, steps) -> times [steps + 1] that descend from t = 1 to `end`.

`end` stays above 0 where the score is singular at t = 0; the paper's is 1e-3. To change it, give
`functools.partial(uniform_time, end=1e-5)`. Fewer than one step raises InputError.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.errors import InputError
from sde_ct.sde import SDE

Grid = Callable[[SDE, int], Float[Array, " steps+1"]]


def uniform_time(sde: SDE, steps: int, *, end: float = 1e-3) -> Float[Array, " steps+1"]:
    """Equal steps in t; `end` in [0, 1)."""
    _check(steps)
    return jnp.linspace(1.0, end, steps + 1)


def uniform_log_snr(sde: SDE, steps: int, *, end: float = 1e-3) -> Float[Array, " steps+1"]:
    """Equal steps in log SNR = 2 log(alpha / std); `end` in (0, 1).

    Every step divides the noise level std / alpha by the same factor.
    """
    return _uniform_in(jnp.log, jnp.exp, sde, steps, end)


def karras(
    sde: SDE, steps: int, *, end: float = 1e-3, rho: float = 7.0
) -> Float[Array, " steps+1"]:
    """Equal steps in (std / alpha)^(1/rho); `end` in (0, 1).

    (arXiv 2206.00364, eq. 5, where rho = 7.) For `VPSDE()` and `VESDE.from_sigma(25)` it has more
    steps at low noise than equal steps in t, and fewer than equal steps in log SNR.
    """
    return _uniform_in(lambda r: r ** (1 / rho), lambda v: v**rho, sde, steps, end)


def _uniform_in(forward: Callable, inverse: Callable, sde: SDE, steps: int, end: float) -> Array:
    """Equal steps in `forward` of the noise level std / alpha."""
    _check(steps)
    first, last = forward(sde.noise_ratio(1.0)), forward(sde.noise_ratio(end))
    times = sde.time(inverse(jnp.linspace(first, last, steps + 1)))
    return times.at[0].set(1.0).at[-1].set(end)


def _check(steps: int) -> None:
    if steps < 1:
        raise InputError(f"steps: must be at least 1, got {steps}.")
