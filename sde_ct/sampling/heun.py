"""Heun's method at Karras's noise levels, with churn (EDM)."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Key

from sde_ct.errors import InputError
from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.time_grid import Grid, karras
from sde_ct.sde import SDE, denoised, expand, standard_normal
from sde_ct.types import Samples, ScoreFn


def heun(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    *,
    steps: int = 36,
    churn: float = 0.0,
    churn_range: tuple[float, float] = (0.05, 50.0),
    churn_noise: float = 1.0,
    grid: Grid = karras,
    denoise: bool = False,
) -> Samples:
    """Draw samples by Heun's steps of the probability-flow ODE in the noise level.

    In y = x / alpha and r = std / alpha the flow is dy/dr = (y - x_0(y, r)) / r. With churn, noise
    is first put in, up to r^ = (1 + min(churn / steps, √2 - 1)) r for r in `churn_range`; then

    d = (y - x_0(y, r^)) / r^,  y' = y + (r_s - r^) d,  y_s = y + (r_s - r^) (d + d') / 2

    with d' the derivative at y', r_s (Karras et al., arXiv 2206.00364, algorithm 2; x = alpha y
    makes it serve VP and VE alike). Of order two in the step without churn. Without churn, their
    sampler of N levels, the last step down to 0, is steps = N - 1 with `denoise`: 2 N - 1
    evaluations; with it they divide the churn by N and stir before that last step too.

    Args:
      key: one key, or [b] keys, one for each sample.
      sde: the forward SDE.
      score: ∇ log p_t(x), (x [b, *d], t [b]) -> [b, *d].
      shape: [b, *d] of the samples.
      steps: number of steps, two score evaluations each.
      churn: noise put in over all steps, S_churn; 0 is deterministic after the prior.
      churn_range: noise levels r at which it is, S_tmin and S_tmax.
      churn_noise: factor of that noise's standard deviation, S_noise.
      grid: (sde, steps) -> times [steps + 1], from 1 down, ending above 0.
      denoise: end in E[x(0) | x(end)], one more score evaluation, in place of x(end).

    Returns:
      Samples. Raises InputError for steps < 1 or churn < 0.
    """
    if churn < 0:
        raise InputError(f"churn: must be 0 or more, got {churn}.")
    gain = 1 + min(churn / max(steps, 1), math.sqrt(2) - 1)

    def derivative(y, t):
        alpha, ratio = expand(sde.marginal(t)[0], y), expand(sde.noise_ratio(t), y)
        return (y - denoised(sde, score(alpha * y, t), alpha * y, t)) / ratio

    def stir(y, step: Step):
        level = sde.noise_ratio(step.t)
        inside = (level >= churn_range[0]) & (level <= churn_range[1])
        # Never past t = 1, where the network knows nothing.
        raised = jnp.where(inside, jnp.minimum(gain * level, sde.noise_ratio(1.0)), level)
        added = churn_noise * jnp.sqrt(jnp.maximum(raised**2 - level**2, 0.0))
        noise = standard_normal(step.keys, shape)
        return y + expand(added, y) * noise, jnp.where(inside, sde.time(raised), step.t)

    def update(x, step: Step, memory):
        y, t = x / expand(sde.marginal(step.t)[0], x), step.t
        if churn > 0:
            y, t = stir(y, step)
        h = expand(sde.noise_ratio(step.s) - sde.noise_ratio(t), x)
        first = derivative(y, t)
        second = derivative(y + h * first, step.s)
        y = y + h * (first + second) / 2
        return expand(sde.marginal(step.s)[0], x) * y, memory

    times = grid(sde, steps)
    return descend(key, sde, score, shape, times, update, nfe=2 * steps, denoise=denoise)
