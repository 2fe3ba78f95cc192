"""The probability-flow ODE with adaptive steps (ODE)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.errors import InputError
from sde_ct.sampling.chain import all_finite
from sde_ct.sampling.keys import fold, sample_keys
from sde_ct.sampling.time_grid import check_end
from sde_ct.sde import SDE, denoised, probability_flow
from sde_ct.types import Samples, ScoreFn

_SAMPLE = "sde_ct_sample"  # name of the batch axis under vmap


def probability_flow_ode(
    key: Key[Array, "..."], sde: SDE, score: ScoreFn, shape: tuple[int, ...],
    *, rtol: float = 1e-5, atol: float = 1e-5, end: float = 1e-3, max_steps: int = 4096,
    denoise: bool = False,
) -> Samples:  # fmt: skip
    """Draw samples from the prior and solve the probability-flow ODE from t = 1 to `end`.

    dx/dt = f - ½ g² ∇ log p_t(x)

    (arXiv 2011.13456, eq. 13; the sampler "ODE" of arXiv 2209.12104), by the explicit Runge-Kutta
    pair of Dormand and Prince. Each sample has steps of its own, as if it were solved alone, while
    the score is called with the whole batch. The error that sets the step is the largest over the
    sample's elements, because in a mean square the air around the body hides the error inside it.

    `nfe` counts the evaluations that each sample needed, rejected steps included. A solve that
    fails does not raise; it returns ok = False.

    Args:
      rtol, atol: each element's error in a step stays below atol + rtol |x|.
      end: the time of the last step, in (0, 1).
      max_steps: the number of steps after which a sample fails.

    Raises InputError for an `end` or tolerances outside of their ranges.
    """
    check_end(end)
    if any(isinstance(one, int | float) and not one >= 0 for one in (rtol, atol)):
        raise InputError(f"rtol, atol: must be at least 0, got {rtol} and {atol}.")
    import diffrax  # takes a second to import, and no other sampler needs it

    flow = probability_flow(sde, score)
    solver = diffrax.Dopri5()
    # PI control rejects fewer steps. `dtmin` lets a score that is not finite fail after a few steps
    # instead of `max_steps`.
    control = diffrax.PIDController(
        rtol, atol, pcoeff=0.3, icoeff=0.4, norm=_largest, dtmin=1e-7, force_dtmin=False
    )

    def velocity(t, x, _):
        # The score gets the whole batch, because it may hold a different MR for each sample.
        x_all, t_all = jax.lax.all_gather((x, t), _SAMPLE)
        return flow(x_all, t_all)[jax.lax.axis_index(_SAMPLE)]

    def solve(x, first_stage):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity), solver, t0=1.0, t1=end, dt0=-0.01, y0=x,
            stepsize_controller=control, adjoint=diffrax.ForwardMode(), max_steps=max_steps,
            throw=False, solver_state=(jnp.array(False), first_stage),
        )  # fmt: skip
        return solution.ys[0], solution.stats["num_steps"], diffrax.is_successful(solution.result)

    start = sde.prior(fold(sample_keys(key, shape[0]), 0), shape)
    # The last stage of an accepted step is reused as the first stage of the next. The first step
    # has none to reuse. Without `first_stage`, each rejection of this step would evaluate it again.
    first_stage = flow(start, jnp.ones(shape[0]))
    x, tried, reached = jax.vmap(solve, axis_name=_SAMPLE)(start, first_stage)
    nfe = (1 + (solver.tableau.num_stages - 1) * tried).astype(jnp.int32)
    if denoise:
        t = jnp.full(shape[0], end)
        x, nfe = denoised(sde, score(x, t), x, t), nfe + 1
    return Samples(x=x, nfe=nfe, ok=reached & all_finite(x))


def _largest(error: Float[Array, "*d"]) -> Float[Array, ""]:
    error = jnp.max(jnp.abs(error))
    return jnp.where(jnp.isnan(error), jnp.inf, error)
