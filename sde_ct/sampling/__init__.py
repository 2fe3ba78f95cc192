"""Samplers: an SDE and a score function in, samples out. No network is known here.

Each sampler is a pure function that runs under `jit`, `vmap` and `pmap`, for samples of any shape
[b, *d], and draws all noise of a sample from that sample's own key: alone or in a batch, it is
the same sample. `sampler(key, sde, score, shape, ...) -> Samples`. Call them under `jit`: outside
of it, each call compiles anew.
"""

from sde_ct.sampling.ddim import ddim
from sde_ct.sampling.ddpm import ddpm
from sde_ct.sampling.dpm_solver import dpm_solver
from sde_ct.sampling.ensemble import monte_carlo
from sde_ct.sampling.euler_maruyama import euler_maruyama
from sde_ct.sampling.heun import heun
from sde_ct.sampling.keys import sample_keys
from sde_ct.sampling.ode import probability_flow_ode
from sde_ct.sampling.predictor_corrector import predictor_corrector
from sde_ct.sampling.time_grid import karras, uniform_log_snr, uniform_time

__all__ = [
    "ddim",
    "ddpm",
    "dpm_solver",
    "euler_maruyama",
    "heun",
    "karras",
    "monte_carlo",
    "predictor_corrector",
    "probability_flow_ode",
    "sample_keys",
    "uniform_log_snr",
    "uniform_time",
]
