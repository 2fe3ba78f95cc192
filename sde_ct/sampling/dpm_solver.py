"""DPM-Solver++(2M), of second order with one evaluation a step, in ODE and SDE form."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, times_of, uniform_log_snr
from sde_ct.sde import SDE, denoised, expand, standard_normal
from sde_ct.types import Samples, ScoreFn


def dpm_solver(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, steps: int = 20, stochastic: bool = False, grid: Grid = uniform_log_snr,
    denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples by exponential steps in l = log(alpha / std), with x_0 extrapolated.

    With x_0 = (x_t + std_t² ∇ log p_t(x_t)) / alpha_t, h = l_s - l_t, h' and x_0' the values of
    the previous step, and D = x_0 + h / (2 h') (x_0 - x_0'),

    ODE: x_s = std_s/std_t x_t + alpha_s (1 - e^-h) D
    SDE: x_s = std_s/std_t e^-h x_t + alpha_s (1 - e^-2h) D + std_s √(1 - e^-2h) z

    (Lu et al., arXiv 2211.01095, algorithm 2 and its SDE form). D = x_0 in the first step, which
    has no previous one, and in the last, where h is infinite if the grid ends at t = 0. The SDE
    form has z = 0 in the last step unless `denoise` follows. The ODE form has order two in the
    step. The noise of the SDE form dampens errors of early steps, as in `euler_maruyama`.

    Args:
      stochastic: use the SDE form.
    """

    def update(x, step: Step, memory):
        previous, h_previous = memory
        (alpha_t, std_t), (alpha_s, std_s) = sde.marginal(step.t), sde.marginal(step.s)
        clean = denoised(sde, score(x, step.t), x, step.t)
        decay = alpha_t / alpha_s * std_s / std_t  # e^-h
        h = -jnp.log(decay)
        weight = jnp.where(step.first | step.last, 0.0, h / (2 * h_previous))
        ahead = clean + expand(weight, x) * (clean - previous)
        if stochastic:
            decay = decay**2
        x_s = expand(alpha_s / alpha_t * decay, x) * x + expand(alpha_s * (1 - decay), x) * ahead
        if stochastic:
            scale = step.noise * std_s * jnp.sqrt(1 - decay)
            x_s = x_s + expand(scale, x) * standard_normal(step.keys, shape)
        return x_s, (clean, h)

    return descend(
        key, sde, score, shape, times_of(grid, sde, steps), update, nfe=steps, denoise=denoise,
        memory=(jnp.zeros(shape), jnp.ones(shape[0])),
    )  # fmt: skip
