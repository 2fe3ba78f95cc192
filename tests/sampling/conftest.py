"""Gaussian mixtures: data whose score, distribution and flow are known at every t."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.scipy.stats import norm

from sde_ct.sde import expand


class Mixture(NamedTuple):
    """Σ_k weights_k N(means_k, stds_k²), each [K, *d]: independent elements."""

    weights: jax.Array
    means: jax.Array
    stds: jax.Array

    @property
    def mean(self):
        return (self.weights * self.means).sum(0)

    @property
    def std(self):
        second = (self.weights * (self.means**2 + self.stds**2)).sum(0)
        return jnp.sqrt(second - self.mean**2)

    def at(self, sde, t, x):
        """Weights, means and standard deviations of the components of x(t), [K, b, *d]."""
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        weights, means, stds = (
            value.reshape(len(value), *(1,) * (x.ndim - value.ndim + 1), *value.shape[1:])
            for value in self
        )
        return weights, alpha * means, jnp.sqrt((alpha * stds) ** 2 + std**2)

    def score(self, sde):
        def score(x, t):
            weights, means, stds = self.at(sde, t, x)
            z = (x - means) / stds
            posterior = jax.nn.softmax(jnp.log(weights / stds) - z**2 / 2, axis=0)
            return -(posterior * z / stds).sum(0)

        return score

    def cdf(self, sde, t, x):
        weights, means, stds = self.at(sde, t, x)
        return (weights * norm.cdf(x, means, stds)).sum(0)


@pytest.fixture(scope="session")
def gaussian():
    """(mean, std) -> its Mixture; arrays [*d] give every element of a sample its own."""

    def build(mean, std):
        mean, std = jnp.asarray(mean)[None], jnp.asarray(std)[None]
        return Mixture(jnp.ones_like(mean), mean, std)

    return build


@pytest.fixture(scope="session")
def problems():
    """The table, as elements [problem, 1] of one sample: a Gaussian and a two-component mixture.

    Means and widths are those of images in [-1, 1]. The prior leaves out the mean of x(1), an
    error of mean / std(1) at the end of the ODE: 0.2 % for the default VE, 1 % for the paper's.
    """
    return Mixture(
        weights=jnp.array([[[0.5], [0.3]], [[0.5], [0.7]]]),
        means=jnp.array([[[0.1], [-0.6]], [[0.1], [0.4]]]),
        stds=jnp.array([[[0.5], [0.15]], [[0.5], [0.25]]]),
    )
