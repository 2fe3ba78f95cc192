"""Denoising diffusion implicit models (DDIM)."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.errors import InputError
from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, times_of, uniform_log_snr
from sde_ct.sde import SDE, denoised, expand, root, standard_normal
from sde_ct.types import Samples, ScoreFn


def ddim(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, steps: int = 150, eta: float = 0.0, grid: Grid = uniform_log_snr, denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples by DDIM steps, which reuse the noise estimated at t at the next time s.

    With x_0 = (x_t + std_t² ∇ log p_t(x_t)) / alpha_t and e = (x_t - alpha_t x_0) / std_t,

    x_s = alpha_s x_0 + √(std_s² - c²) e + c z,  c = eta std_s/std_t √(std_t² - alpha_ts² std_s²)

    (Song et al., arXiv 2010.02502, eqs. 12 and 16, written for any alpha and std, so for VP and
    VE), where alpha_ts = alpha_t / alpha_s. With eta = 0 only the prior is random, and the method
    solves the probability-flow ODE with order one in the step. With eta = 1 it is `ddpm`.

    Args:
      eta: share of fresh noise, in [0, 1]; InputError otherwise.
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta: must be in [0, 1], got {eta}.")

    def update(x, step: Step, memory):
        (alpha_t, std_t), (alpha_s, std_s) = sde.marginal(step.t), sde.marginal(step.s)
        clean = denoised(sde, score(x, step.t), x, step.t)
        # 1 - alpha_ts² std_s²/std_t², computed from the ratio of the noise levels.
        fresh = 1 - (alpha_t / alpha_s * std_s / std_t) ** 2
        kept = std_s / std_t * root(1 - eta**2 * fresh)
        x_s = expand(alpha_s, x) * clean + expand(kept, x) * (x - expand(alpha_t, x) * clean)
        if eta > 0:
            scale = step.noise * eta * std_s * jnp.sqrt(fresh)
            x_s = x_s + expand(scale, x) * standard_normal(step.keys, shape)
        return x_s, memory

    return descend(
        key, sde, score, shape, times_of(grid, sde, steps), update, nfe=steps, denoise=denoise
    )
