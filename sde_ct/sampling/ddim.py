"""Denoising diffusion implicit models (DDIM), from deterministic to ancestral."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.errors import InputError
from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, uniform_log_snr
from sde_ct.sde import SDE, denoised, expand, standard_normal
from sde_ct.types import Samples, ScoreFn


def ddim(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    *,
    steps: int = 150,
    eta: float = 0.0,
    grid: Grid = uniform_log_snr,
    denoise: bool = False,
) -> Samples:
    """Draw samples by keeping the noise found in x_t, or part of it, at the next level.

    With x_0 = (x_t + std_t² ∇ log p_t(x_t)) / alpha_t and e = (x_t - alpha_t x_0) / std_t,

    x_s = alpha_s x_0 + √(std_s² - c²) e + c z,  c = eta std_s/std_t √(std_t² - alpha_ts² std_s²)

    (Song et al., arXiv 2010.02502, eqs. 12 and 16, for any alpha and std, thus VP and VE alike).
    eta = 0 is deterministic after the prior, of order one in the step of the probability-flow
    ODE; eta = 1 is ancestral sampling, `ddpm`.

    Args:
      key: one key, or [b] keys, one for each sample.
      sde: the forward SDE.
      score: ∇ log p_t(x), (x [b, *d], t [b]) -> [b, *d].
      shape: [b, *d] of the samples.
      steps: number of steps, one score evaluation each.
      eta: share of fresh noise, in [0, 1].
      grid: (sde, steps) -> times [steps + 1], from 1 down.
      denoise: end in E[x(0) | x(end)], one more score evaluation, in place of x(end).

    Returns:
      Samples. Raises InputError for steps < 1 or eta outside [0, 1].
    """
    if not 0 <= eta <= 1:
        raise InputError(f"eta: must be in [0, 1], got {eta}.")

    def update(x, step: Step, memory):
        return ddim_step(sde, score, x, step, eta), memory

    times = grid(sde, steps)
    return descend(key, sde, score, shape, times, update, nfe=steps, denoise=denoise)


def ddim_step(
    sde: SDE, score: ScoreFn, x: Float[Array, "b *d"], step: Step, eta: float
) -> Float[Array, "b *d"]:
    """x(t) -> x(s), the equation above; z = 0 where nothing would take it out again."""
    (alpha_t, std_t), (alpha_s, std_s) = sde.marginal(step.t), sde.marginal(step.s)
    clean = denoised(sde, score(x, step.t), x, step.t)
    # 1 - alpha_ts² std_s²/std_t², by the ratio of the noise levels.
    fresh = 1 - (alpha_t / alpha_s * std_s / std_t) ** 2
    kept = std_s / std_t * jnp.sqrt(1 - eta**2 * fresh)
    x_s = expand(alpha_s, x) * clean + expand(kept, x) * (x - expand(alpha_t, x) * clean)
    if eta == 0:
        return x_s
    scale = step.noise * eta * std_s * jnp.sqrt(fresh)
    return x_s + expand(scale, x) * standard_normal(step.keys, x.shape)
