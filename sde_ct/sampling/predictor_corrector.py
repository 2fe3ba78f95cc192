"""Predictor-corrector sampling (PC): Euler-Maruyama steps with Langevin steps between."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.sampling.chain import Step, descend
from sde_ct.sampling.euler_maruyama import euler_maruyama_step
from sde_ct.sampling.keys import fold
from sde_ct.sampling.time_grid import Grid, uniform_time
from sde_ct.sde import SDE, expand, standard_normal
from sde_ct.types import Samples, ScoreFn


def predictor_corrector(
    key: Key[Array, "..."],
    sde: SDE,
    score: ScoreFn,
    shape: tuple[int, ...],
    *,
    steps: int = 1000,
    corrector_steps: int = 1,
    snr: float = 0.16,
    corrector_first: bool = True,
    batch_mean_step: bool = False,
    grid: Grid = uniform_time,
    denoise: bool = False,
) -> Samples:
    """Draw samples by Langevin steps at each noise level and Euler-Maruyama steps between levels.

    Corrector at t:  x ← x + e ∇ log p_t(x) + √(2e) z,  e = 2 (snr · std(t))²
    Predictor t → s: the step of `euler_maruyama`.

    (arXiv 2011.13456, algorithms 2-5; arXiv 2209.12104, sampler "PC", there 10 corrector steps.)

    The authors take e = 2 (snr |z| / |∇ log p|)² for VE, and alpha times as much for VP. Where
    noise dominates, |z| / |∇ log p| in many dimensions estimates std(t), the form used here. The
    ratio itself makes e depend on x, which shifts the law that the corrector should keep: a scalar
    near a zero of its score would take a step without bound. The step here is one number a level,
    right in any dimension, and the same for a sample alone or in a batch.

    The Langevin step is not adjusted: for a Gaussian of variance v its own stationary variance is
    v / (1 - e/2v), at most 1 / (1 - snr²) = 1.026 times v at the default, +1.3 % in standard
    deviation, and less at the end of the grid, where std(t) is small beside the data.

    Args:
      key: one key, or [b] keys, one for each sample.
      sde: the forward SDE.
      score: ∇ log p_t(x), (x [b, *d], t [b]) -> [b, *d].
      shape: [b, *d] of the samples.
      steps: number of predictor steps, one score evaluation each.
      corrector_steps: Langevin steps at each level, one score evaluation each.
      snr: size of the Langevin step beside the noise level.
      corrector_first: correct before each predictor step, t = 1 included; else after each one but
        the last, which only leaves out the correction at t = 1. Noise is never added last.
      batch_mean_step: the authors' e, with √(size of a sample) for |z| and |∇ log p| averaged
        over the batch (of this device): samples then depend on their neighbours.
      grid: (sde, steps) -> times [steps + 1], from 1 down.
      denoise: end in E[x(0) | x(end)], one more score evaluation, in place of x(end).

    Returns:
      Samples. Raises InputError for steps < 1.
    """

    def langevin_size(gradient, t) -> Float[Array, " b"]:
        if not batch_mean_step:
            return 2 * (snr * sde.marginal(t)[1]) ** 2
        flat = gradient.reshape(len(gradient), -1)
        mean_norm = jnp.linalg.norm(flat, axis=1).mean()
        return jnp.full(len(flat), 2 * flat.shape[1] * (snr / mean_norm) ** 2)

    def correct(x, step: Step):
        def langevin(x, index):
            gradient = score(x, step.t)
            size = expand(langevin_size(gradient, step.t), x)
            noise = standard_normal(fold(step.keys, index), shape)
            return x + size * gradient + jnp.sqrt(2 * size) * noise, None

        return jax.lax.scan(langevin, x, jnp.arange(corrector_steps))[0]

    def update(x, step: Step, memory):
        if corrector_first:
            x = correct(x, step)
        else:
            x = jax.lax.cond(step.first, lambda x: x, lambda x: correct(x, step), x)
        return euler_maruyama_step(sde, score, x, step), memory

    corrected = steps if corrector_first else steps - 1
    nfe = steps + corrected * corrector_steps
    times = grid(sde, steps)
    return descend(key, sde, score, shape, times, update, nfe=nfe, denoise=denoise)
