"""Heun's method, by default at Karras's noise levels and without churn (EDM)."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.errors import InputError
from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, karras, times_of
from sde_ct.sde import SDE, denoised, expand, root, standard_normal
from sde_ct.types import Samples, ScoreFn


def heun(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, steps: int = 36, churn: float = 0.0, churn_range: tuple[float, float] = (0.05, 50.0),
    churn_noise: float = 1.0, grid: Grid = karras, denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples by Heun steps of the probability-flow ODE, with the noise level as its time.

    In y = x / alpha and r = std / alpha the ODE is dy/dr = (y - x_0(y, r)) / r. A step from the
    noise level r to r_s < r first adds noise ("churn") up to the level
    r^ = (1 + min(churn / steps, √2 - 1)) r, if r is within `churn_range`, and then takes

    d = (y - x_0(y, r^)) / r^,  y' = y + (r_s - r^) d,  y_s = y + (r_s - r^) (d + d') / 2

    where d' is the derivative at (y', r_s). This is algorithm 2 of Karras et al. (arXiv
    2206.00364), extended to VP by x = alpha y. Without churn the order is two in the step, and
    steps = N - 1 with `denoise` equals the authors' sampler of N levels, whose last step goes to
    r = 0. With churn the two differ, because the authors divide churn by N and also add noise
    before that last step.

    Args:
      steps: number of steps with two score evaluations each.
      churn: S_churn, the noise added over all steps; 0 adds none, below 0 raises InputError.
      churn_range: S_tmin and S_tmax, the noise levels r between which noise is added.
      churn_noise: S_noise, a factor of the added noise's standard deviation.
      grid: must end above t = 0.
    """
    if churn < 0:
        raise InputError(f"churn: must be 0 or more, got {churn}.")
    gain = 1 + min(churn / max(steps, 1), math.sqrt(2) - 1)

    def derivative(y, t):
        alpha, ratio = expand(sde.marginal(t)[0], y), expand(sde.noise_ratio(t), y)
        return (y - denoised(sde, score(alpha * y, t), alpha * y, t)) / ratio

    def add_noise(y, step: Step):
        level = sde.noise_ratio(step.t)
        inside = (level >= churn_range[0]) & (level <= churn_range[1])
        # Not beyond t = 1, where the network was never trained.
        raised = jnp.where(inside, jnp.minimum(gain * level, sde.noise_ratio(1.0)), level)
        added = churn_noise * root(raised**2 - level**2)
        noise = standard_normal(step.keys, shape)
        return y + expand(added, y) * noise, jnp.where(inside, sde.time(raised), step.t)

    def update(x, step: Step, memory):
        y, t = x / expand(sde.marginal(step.t)[0], x), step.t
        if churn > 0:
            y, t = add_noise(y, step)
        h = expand(sde.noise_ratio(step.s) - sde.noise_ratio(t), x)
        first = derivative(y, t)
        second = derivative(y + h * first, step.s)
        y = y + h * (first + second) / 2
        return expand(sde.marginal(step.s)[0], x) * y, memory

    return descend(
        key, sde, score, shape, times_of(grid, sde, steps), update, nfe=2 * steps, denoise=denoise
    )
