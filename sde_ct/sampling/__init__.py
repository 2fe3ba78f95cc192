"""Samplers: each takes an SDE and a score function and returns samples. They know no network.

`sampler(key, sde, score, shape, **options) -> Samples` is a pure function that runs under `jit`,
`vmap` and `pmap`. Call it under `jit`; outside, each call compiles again. All noise of a sample
comes from that sample's own key, so a sample is the same alone and in a batch.

Samplers share these arguments, but the ODE has neither `steps` nor `grid`, and `ddpm` no `denoise`:

- `key`: one key, or [b] keys, one for each sample.
- `sde`: the forward SDE.
- `score`: ∇ log p_t(x) as a function of x [b, *d] and t [b] that returns [b, *d].
- `shape`: [b, *d], the shape of the samples. A sample may have any shape.
- `steps`: the number of steps, each with one score evaluation unless the sampler says otherwise.
  Fewer than 1 raises InputError.
- `grid`: a function (sde, steps) -> times [steps + 1] that descend from t = 1.
- `denoise`: return E[x(0) | x(end)] instead of x(end), with one more score evaluation.
"""

from sde_ct.sampling.ddim import ddim
from sde_ct.sampling.ddpm import ddpm
from sde_ct.sampling.dpm_solver import dpm_solver
from sde_ct.sampling.euler_maruyama import euler_maruyama
from sde_ct.sampling.heun import heun
from sde_ct.sampling.keys import sample_keys
from sde_ct.sampling.monte_carlo import monte_carlo
from sde_ct.sampling.ode import probability_flow_ode
from sde_ct.sampling.predictor_corrector import predictor_corrector
from sde_ct.sampling.time_grid import chosen_for_few, karras, uniform_log_snr, uniform_time
from sde_ct.sampling.unipc import unipc

__all__ = [
    "chosen_for_few", "ddim", "ddpm", "dpm_solver", "euler_maruyama", "heun", "karras",
    "monte_carlo", "predictor_corrector", "probability_flow_ode", "sample_keys", "uniform_log_snr",
    "uniform_time", "unipc",
]  # fmt: skip
