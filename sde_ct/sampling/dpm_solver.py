"""DPM-Solver++(2M): second order for one evaluation a step, as an ODE and as an SDE."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, uniform_log_snr
from sde_ct.sde import SDE, denoised, expand, standard_normal
from sde_ct.types import Samples, ScoreFn


def dpm_solver(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    *,
    steps: int = 20,
    stochastic: bool = False,
    grid: Grid = uniform_log_snr,
    denoise: bool = False,
) -> Samples:
    """Draw samples by exponential steps in l = log(alpha / std), the denoised image extrapolated.

    With x_0 = (x_t + std_t² ∇ log p_t(x_t)) / alpha_t, h = l_s - l_t, h' the step before, and
    D = x_0 + h / (2 h') (x_0 - x_0'), x_0' the denoised image of the step before,

    ODE: x_s = std_s/std_t x_t + alpha_s (1 - e^-h) D
    SDE: x_s = std_s/std_t e^-h x_t + alpha_s (1 - e^-2h) D + std_s √(1 - e^-2h) z

    (Lu et al., arXiv 2211.01095, algorithm 2 and its SDE form). D = x_0 in the first step, and in
    the last, where a grid that ends at t = 0 has h without bound; there the SDE has z = 0 unless
    `denoise` follows. The ODE form has order two in the step; the SDE form, like
    `euler_maruyama`, forgets errors made early.

    Args:
      key: one key, or [b] keys, one for each sample.
      sde: the forward SDE.
      score: ∇ log p_t(x), (x [b, *d], t [b]) -> [b, *d].
      shape: [b, *d] of the samples.
      steps: number of steps, one score evaluation each.
      stochastic: take the SDE form.
      grid: (sde, steps) -> times [steps + 1], from 1 down.
      denoise: end in E[x(0) | x(end)], one more score evaluation, in place of x(end).

    Returns:
      Samples. Raises InputError for steps < 1.
    """

    def update(x, step: Step, memory):
        before, h_before = memory
        (alpha_t, std_t), (alpha_s, std_s) = sde.marginal(step.t), sde.marginal(step.s)
        clean = denoised(sde, score(x, step.t), x, step.t)
        decay = alpha_t / alpha_s * std_s / std_t  # e^-h
        h = -jnp.log(decay)
        ahead = jnp.where(step.first | step.last, 0.0, h / (2 * h_before))
        ahead = clean + expand(ahead, x) * (clean - before)
        if stochastic:
            decay = decay**2
        x_s = expand(alpha_s / alpha_t * decay, x) * x + expand(alpha_s * (1 - decay), x) * ahead
        if stochastic:
            scale = step.noise * std_s * jnp.sqrt(1 - decay)
            x_s = x_s + expand(scale, x) * standard_normal(step.keys, shape)
        return x_s, (clean, h)

    nothing = (jnp.zeros(shape), jnp.ones(shape[0]))
    times = grid(sde, steps)
    return descend(
        key, sde, score, shape, times, update, nfe=steps, denoise=denoise, memory=nothing
    )
