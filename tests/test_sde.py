"""The SDEs against their own definitions: every closed form is derived a second way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde_ct import VESDE, VPSDE
from sde_ct.errors import InputError
from sde_ct.sde import denoised, expand, probability_flow, reverse_sde

SDES = [VPSDE(), VESDE(), VESDE.from_sigma(25.0)]
IDS = ["vp", "ve", "paper-ve"]
every_sde = pytest.mark.parametrize("sde", SDES, ids=IDS)
times = st.floats(1e-3, 1.0)


@every_sde
@given(t=times)
@settings(deadline=None, max_examples=50)
def test_time_inverts_noise_ratio(sde, t):
    # float32: the noise ratio is good to 1e-6, t follows it at most proportionally.
    assert sde.time(sde.noise_ratio(t)) == pytest.approx(t, rel=2e-5)


@every_sde
@given(log_ratio=st.floats(-6.0, 2.0))
@settings(deadline=None, max_examples=50)
def test_noise_ratio_inverts_time(sde, log_ratio):
    ratio = np.exp(log_ratio)
    assert sde.noise_ratio(sde.time(ratio)) == pytest.approx(ratio, rel=1e-4)


@every_sde
@given(t=times)
@settings(deadline=None, max_examples=50)
def test_noise_ratio_is_that_of_the_marginal(sde, t):
    alpha, std = sde.marginal(t)
    assert sde.noise_ratio(t) == pytest.approx(float(std / alpha), rel=1e-4)


@every_sde
def test_marginal_solves_the_moment_equations(sde):
    """alpha' = f alpha and (std²)' = 2 f std² + g², with alpha(0) = 1, std(0) = 0."""
    t = jnp.linspace(0.01, 1.0, 50)
    alpha_slope = jax.vmap(jax.grad(lambda t: sde.marginal(t)[0]))(t)
    variance_slope = jax.vmap(jax.grad(lambda t: sde.marginal(t)[1] ** 2))(t)
    alpha, std = sde.marginal(t)
    rate = sde.drift(jnp.ones_like(t), t)
    np.testing.assert_allclose(alpha_slope, rate * alpha, rtol=1e-4, atol=1e-6)
    expected = 2 * rate * std**2 + sde.diffusion(t) ** 2
    # VP: the two terms cancel to 1e-4 of their size near t = 1.
    np.testing.assert_allclose(variance_slope, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(sde.marginal(0.0), (1.0, 0.0))


def test_paper_ve_is_sigma_to_the_t():
    sde = VESDE.from_sigma(25.0)
    t = jnp.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(sde.diffusion(t), 25.0**t, rtol=1e-5)
    assert sde.sigma_min == pytest.approx(0.394, abs=5e-4)
    assert sde.sigma_max == pytest.approx(9.853, abs=5e-4)
    assert sde.marginal(1.0)[1] == pytest.approx(9.845, abs=5e-4)
    assert sde.marginal(1e-3)[1] == pytest.approx(0.0317, abs=5e-5)


def test_paper_ve_is_differentiable_in_sigma():
    """std(1)² = (sigma² - 1) / (2 ln sigma); float32 leaves a relative error of about 1e-6."""

    def variance(sigma):
        return VESDE.from_sigma(sigma).marginal(1.0)[1] ** 2

    log = np.log(25.0)
    expected = 25.0 / log - (25.0**2 - 1) / (2 * 25.0 * log**2)
    assert jax.jit(jax.grad(variance))(25.0) == pytest.approx(expected, rel=1e-5)


def test_vp_is_close_to_the_ddpm_chain():
    """The bounds that VPSDE's docstring states, against the product over the discrete chain."""
    sde, steps = VPSDE(), 1000
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, steps))
    chain_alpha, chain_std = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    t = np.arange(1, steps + 1) / steps
    alpha, std = sde.marginal(t)
    assert np.abs(chain_alpha - alpha).max() < 0.001
    assert np.abs(chain_std - std).max() < 0.0014
    assert np.abs(np.log(chain_std / chain_alpha / sde.noise_ratio(t))).max() < 0.05
    assert np.abs(sde.time(chain_std / chain_alpha) - t).max() < 0.0034


@every_sde
def test_prior_has_the_last_std_and_each_sample_its_own_key(sde):
    x = sde.prior(jax.random.key(0), (64, 1024))
    assert x.std() == pytest.approx(float(sde.marginal(1.0)[1]), rel=0.01)  # 2^16: error 0.3 %
    assert abs(x.mean()) < 0.015 * x.std()
    keys = jax.random.split(jax.random.key(1), 3)
    batch = sde.prior(keys, (3, 4, 5))
    np.testing.assert_array_equal(sde.prior(keys[1:2], (1, 4, 5))[0], batch[1])
    assert not np.allclose(batch[0], batch[1])


@every_sde
def test_probability_flow_carries_a_gaussian(sde):
    """x(t) = alpha m + sd z at fixed z, sd² = alpha² s² + std², moves with the flow's velocity."""
    mean, spread = 0.3, 0.5
    z = jnp.linspace(-2.0, 2.0, 7)

    def path(t):
        alpha, std = sde.marginal(t)
        return alpha * mean + jnp.sqrt(alpha**2 * spread**2 + std**2) * z

    for t in (0.01, 0.2, 0.6, 1.0):
        x, speed = jax.jvp(path, (t,), (1.0,))
        velocity = probability_flow(sde, gaussian_score(sde, mean, spread))
        np.testing.assert_allclose(velocity(x, jnp.full(7, t)), speed, rtol=1e-3, atol=1e-4)


@every_sde
def test_reverse_sde_keeps_the_variance_of_a_gaussian(sde):
    """Run backward, dx = a x dt + g dw gives dv/dt = 2 a v - g², the forward variance's slope."""
    spread, t = 0.5, 0.4

    def variance(t):
        alpha, std = sde.marginal(t)
        return alpha**2 * spread**2 + std**2

    drift, diffusion = reverse_sde(sde, gaussian_score(sde, 0.0, spread))
    slope = drift(jnp.ones(1), jnp.full(1, t))[0]
    backward = 2 * slope * variance(t) - diffusion(t) ** 2
    assert jax.grad(variance)(t) == pytest.approx(float(backward), rel=1e-3)


@every_sde
def test_denoised_is_the_posterior_mean_of_a_gaussian(sde):
    mean, spread = 0.3, 0.5
    x, t = jnp.array([-1.0, 0.0, 2.0]), jnp.array([0.05, 0.3, 0.7])
    alpha, std = sde.marginal(t)
    gain = alpha * spread**2 / (alpha**2 * spread**2 + std**2)
    expected = mean + gain * (x - alpha * mean)
    actual = denoised(sde, gaussian_score(sde, mean, spread)(x, t), x, t)
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4)


def test_expand_aligns_samples():
    x = jnp.ones((2, 3, 4))
    assert expand(jnp.ones(2), x).shape == (2, 1, 1)
    assert expand(1.0, x).shape == (1, 1, 1)
    assert expand(jnp.ones(2), jnp.ones(2)).shape == (2,)


@every_sde
def test_an_sde_is_a_pytree_and_hashable(sde):
    std = jax.jit(lambda sde: sde.marginal(0.5)[1])(sde)
    assert std == pytest.approx(float(sde.marginal(0.5)[1]), rel=1e-6)
    assert len(jax.tree.leaves(sde)) == 2
    assert hash(sde) == hash(jax.tree.map(lambda leaf: leaf, sde))


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: VESDE(sigma_min=2.0, sigma_max=1.0), "sigma_min"),
        (lambda: VESDE(sigma_min=0.0), "sigma_min"),
        (lambda: VPSDE(beta_min=-0.1), "beta_min"),
        (lambda: VESDE.from_sigma(1.0), "sigma"),
    ],
)
def test_impossible_ranges_are_refused(build, field):
    with pytest.raises(InputError, match=field):
        build()


def gaussian_score(sde, mean, spread):
    def score(x, t):
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        return -(x - alpha * mean) / (alpha**2 * spread**2 + std**2)

    return score
