"""Euler-Maruyama on the reverse-time SDE (EM)."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, times_of, uniform_time
from sde_ct.sde import SDE, expand, reverse_sde, standard_normal
from sde_ct.types import Samples, ScoreFn


def euler_maruyama(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, steps: int = 1000, grid: Grid = uniform_time, denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples by Euler-Maruyama steps of the reverse-time SDE.

    x_s = x_t + (f - g² ∇ log p_t(x_t)) (s - t) + g √(t - s) z,  z ~ N(0, I)

    for neighbours s < t of the grid (arXiv 2011.13456, eq. 6; the sampler "EM" of arXiv
    2209.12104). The last step has z = 0 unless `denoise` follows. The weak order is one.
    """

    def update(x, step: Step, memory):
        return euler_maruyama_step(sde, score, x, step), memory

    return descend(
        key, sde, score, shape, times_of(grid, sde, steps), update, nfe=steps, denoise=denoise
    )


def euler_maruyama_step(
    sde: SDE, score: ScoreFn, x: Float[Array, "b *d"], step: Step
) -> Float[Array, "b *d"]:
    """The step x_t -> x_s of `euler_maruyama`."""
    drift, diffusion = reverse_sde(sde, score)
    dt = step.s - step.t
    scale = step.noise * diffusion(step.t) * jnp.sqrt(-dt)
    noise = standard_normal(step.keys, x.shape)
    return x + expand(dt, x) * drift(x, step.t) + expand(scale, x) * noise
