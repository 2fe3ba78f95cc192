"""UniPC, which corrects each step by the evaluation of the next one, at no further cost."""

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, times_of, uniform_log_snr
from sde_ct.sde import SDE, denoised, expand
from sde_ct.types import Samples, ScoreFn


def unipc(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, steps: int = 20, grid: Grid = uniform_log_snr, denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples of the probability-flow ODE by exponential steps, predicted and then corrected.

    In l = log(alpha / std), h = l_s - l_t, the ODE has the solution

    x_s = std_s/std_t x_t + alpha_s ∫ e^-(l_s - l) x_0(l) dl  over l from l_t to l_s,

    with x_0 the denoised image. The predictor extends the line through x_0 at t and at the time
    before t. Once x_0 at the predicted x_s is known, the corrector takes the step from t again,
    with the line through x_0 at t and at s. With a line for x_0 the integral is exact:

    x_s = std_s/std_t x_t + alpha_s ((1 - e^-h) x_0 + (h - 1 + e^-h) x_0'),  x_0' the line's slope

    (Zhao et al., arXiv 2302.04867, algorithms 5 and 6 for the prediction of data, with its exact
    coefficients in place of B(h)). x_0' = 0 in the first prediction. The order is two in the step.
    The last step is not corrected: it ends in the prediction, or, with `denoise`, in the denoised
    image of the prediction.

    Args:
      grid: must end above t = 0.
    """

    def along(x, t, s, clean, slope):
        """The step from x at t to s, with x_0 = clean + slope (l - l_t)."""
        std_t, (alpha_s, std_s) = sde.marginal(t)[1], sde.marginal(s)
        gone = -jnp.expm1(-width(t, s))  # 1 - e^-h
        moved = expand(gone, x) * clean + expand(width(t, s) - gone, x) * slope
        return expand(std_s / std_t, x) * x + expand(alpha_s, x) * moved

    def width(t, s):
        return jnp.log(sde.noise_ratio(t) / sde.noise_ratio(s))  # h

    def update(x, step: Step, memory):
        x_before, t_before, clean_before = memory
        clean = denoised(sde, score(x, step.t), x, step.t)
        # In the first step h would be 0, and its unused quotient would make gradients NaN.
        h = expand(jnp.where(step.first, 1.0, width(t_before, step.t)), x)
        slope = jnp.where(step.first, 0.0, (clean - clean_before) / h)
        corrected = along(x_before, t_before, step.t, clean_before, slope)
        x = jnp.where(step.first, x, corrected)
        return along(x, step.t, step.s, clean, slope), (x, step.t, clean)

    zero = jnp.zeros(shape)
    return descend(
        key, sde, score, shape, times_of(grid, sde, steps), update, nfe=steps, denoise=denoise,
        memory=(zero, jnp.ones(shape[0]), zero),
    )  # fmt: skip
