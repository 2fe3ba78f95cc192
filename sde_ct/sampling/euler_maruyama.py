"""Euler-Maruyama on the reverse-time SDE (EM)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, uniform_time
from sde_ct.sde import SDE, expand, reverse_sde, standard_normal
from sde_ct.types import Samples, ScoreFn


def euler_maruyama(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    *,
    steps: int = 1000,
    grid: Grid = uniform_time,
    denoise: bool = False,
) -> Samples:
    """Draw samples by Euler-Maruyama steps of the reverse-time SDE.

    x_s = x_t + (f - g² ∇ log p_t(x_t)) (s - t) + g √(t - s) z,  z ~ N(0, I)

    with s < t neighbours of the grid and z = 0 in the last step unless `denoise` follows (arXiv
    2011.13456, eq. 6; arXiv 2209.12104, sampler "EM"). The weak order in the step is one.

    Args:
      key: one key, or [b] keys, one for each sample.
      sde: the forward SDE.
      score: ∇ log p_t(x), (x [b, *d], t [b]) -> [b, *d].
      shape: [b, *d] of the samples.
      steps: number of steps, one score evaluation each.
      grid: (sde, steps) -> times [steps + 1], from 1 down.
      denoise: end in E[x(0) | x(end)], one more score evaluation, in place of x(end).

    Returns:
      Samples. Raises InputError for steps < 1.
    """

    def update(x, step: Step, memory):
        return euler_maruyama_step(sde, score, x, step), memory

    times = grid(sde, steps)
    return descend(key, sde, score, shape, times, update, nfe=steps, denoise=denoise)


def euler_maruyama_step(
    sde: SDE, score: ScoreFn, x: Float[Array, "b *d"], step: Step
) -> Float[Array, "b *d"]:
    """x(t) -> x(s), the equation above."""
    drift, diffusion = reverse_sde(sde, score)
    dt = step.s - step.t
    scale = step.noise * diffusion(step.t) * jnp.sqrt(-dt)
    noise = standard_normal(step.keys, x.shape)
    return x + expand(dt, x) * drift(x, step.t) + expand(scale, x) * noise
