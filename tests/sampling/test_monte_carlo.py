"""Monte-Carlo ensembles."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.errors import InputError
from sde_ct.sampling import euler_maruyama, monte_carlo, sample_keys


@pytest.fixture
def sample(gaussian):
    sde = VPSDE()
    return lambda key: euler_maruyama(key, sde, gaussian(0.3, 0.5).score(sde), (8, 32), steps=200)


def test_mean_and_std_are_those_of_the_draws_and_of_the_data(sample):
    ensemble = jax.jit(partial(monte_carlo, sample, draws=16))(jax.random.key(0))
    assert ensemble.draws.shape == (16, 8, 32)
    assert ensemble.nfe.shape == ensemble.ok.shape == (16, 8)
    np.testing.assert_allclose(ensemble.mean, np.mean(ensemble.draws, 0), atol=1e-6)
    np.testing.assert_allclose(ensemble.std, np.std(ensemble.draws, 0, ddof=1), atol=1e-6)
    # 4096 independent values: error of the mean 0.008, of the variance 2.2 %. Draws that repeated
    # each other would leave no spread, draws that shared noise too little.
    assert ensemble.mean.mean() == pytest.approx(0.3, abs=0.03)
    assert jnp.mean(ensemble.std**2) == pytest.approx(0.25, rel=0.08)
    # The mean of 16 has a sixteenth of the variance, from 256 means: error 9 %.
    assert ensemble.mean.var() == pytest.approx(0.25 / 16, rel=0.3)


def test_a_draw_does_not_depend_on_how_many_there_are(sample):
    few, many = (jax.jit(partial(monte_carlo, sample, draws=n))(jax.random.key(0)) for n in (2, 5))
    np.testing.assert_allclose(many.draws[:2], few.draws, atol=1e-5)


def test_one_key_for_each_sample(sample, gaussian):
    """The draws of sample 3 are the same alone."""
    sde = VPSDE()

    def alone(key):
        return euler_maruyama(key, sde, gaussian(0.3, 0.5).score(sde), (1, 32), steps=200)

    keys = sample_keys(jax.random.key(0), 8)
    batch = monte_carlo(sample, keys, 3)
    np.testing.assert_allclose(
        monte_carlo(alone, keys[3:4], 3).draws[:, 0], batch.draws[:, 3], atol=1e-5
    )


def test_a_single_draw_has_no_spread(sample):
    ensemble = monte_carlo(sample, jax.random.key(0), 1)
    np.testing.assert_array_equal(ensemble.mean, ensemble.draws[0])
    assert jnp.isnan(ensemble.std).all()


@pytest.mark.parametrize("draws", [0, -1])
def test_no_draws_are_refused(sample, draws):
    with pytest.raises(InputError, match=f"draws: must be at least 1, got {draws}"):
        monte_carlo(sample, jax.random.key(0), draws)
