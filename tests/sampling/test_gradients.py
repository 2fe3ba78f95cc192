"""Samples are differentiable: in reverse mode for fixed steps, in forward mode for the ODE too."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.sampling import (
    ddim,
    ddpm,
    dpm_solver,
    euler_maruyama,
    heun,
    predictor_corrector,
    probability_flow_ode,
    unipc,
)

FIXED = {
    "ddpm": partial(ddpm, steps=6),
    "ddim": partial(ddim, steps=6),
    "em": partial(euler_maruyama, steps=20),
    "pc": partial(predictor_corrector, steps=20),
    "dpm_sde": partial(dpm_solver, steps=6, stochastic=True),
    "unipc": partial(unipc, steps=6),
    "heun": partial(heun, steps=6, churn=1.0),
}


def summary(sampler, gaussian, parameters):
    """A figure of samples that depends on an SDE parameter and on the score."""
    beta_max, mean = parameters
    sde = VPSDE(0.1, beta_max)
    x = sampler(jax.random.key(0), sde, gaussian(mean, 0.5).score(sde), (4, 3)).x
    return jnp.sum(jnp.sin(x))


def differences(figure, at, step=1e-4):
    """Central differences, whose error falls as step²: 1e-8 here, beside rounding of 1e-11."""
    return [
        (figure(at.at[i].add(step)) - figure(at.at[i].add(-step))) / (2 * step) for i in range(2)
    ]


@pytest.mark.parametrize("name", FIXED)
def test_gradients_are_those_of_differences(name, gaussian):
    with jax.enable_x64(True):
        figure = jax.jit(partial(summary, FIXED[name], gaussian))
        at = jnp.array([20.0, 0.3])
        np.testing.assert_allclose(
            jax.jit(jax.grad(figure))(at), differences(figure, at), rtol=1e-4, atol=1e-6
        )


def test_the_ode_is_differentiable_in_forward_mode(gaussian):
    """Its steps adapt to the parameters, within the tolerance of 1e-9."""
    with jax.enable_x64(True):
        sampler = partial(probability_flow_ode, rtol=1e-9, atol=1e-9)
        figure = jax.jit(partial(summary, sampler, gaussian))
        at = jnp.array([20.0, 0.3])
        np.testing.assert_allclose(
            jax.jacfwd(figure)(at), differences(figure, at), rtol=1e-3, atol=1e-5
        )
