"""Correlated noise leaves every slice its distribution and makes slices as alike as the noise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.config import Experiment, SamplingConfig
from sde_ct.frequencies import nearest
from sde_ct.methods.samplers import SAMPLERS, sampler_fn
from sde_ct.sampling.along_z import correlated_along_z, correlated_noise
from sde_ct.sampling.cosine import transformed
from sde_ct.sampling.keys import sample_keys, seed_key
from sde_ct.sde import VESDE, VPSDE, expand

from ..optimised import optimised

MEAN, WIDTH = 0.3, 0.5
ALIKE = 0.8
FEW = SamplingConfig(
    ddpm_steps=200, em_steps=200, pc_steps=200, snr=0.03, ode_rtol=1e-3, ode_atol=1e-3,
    fast_evaluations=100,
)  # fmt: skip


def factor(depth: int) -> np.ndarray:
    apart = np.abs(np.subtract.outer(np.arange(depth), np.arange(depth)))
    return np.linalg.cholesky(ALIKE**apart).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kind"), zip(SAMPLERS, itertools.cycle(["vp", "ve"]), strict=False)
)
def test_gaussian_slices_keep_their_law_and_share_the_noises_correlation(name, kind):
    """Scores of independent N(0.3, 0.5²) are linear, so draws are linear in the noise: their
    correlation along z is exactly that of the noise, whatever the steps."""
    sde = VPSDE() if kind == "vp" else VESDE(sigma_min=0.01, sigma_max=30.0)

    def score(x, t):
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        return (alpha * MEAN - x) / (alpha**2 * WIDTH**2 + std**2)

    run = sampler_fn(name, Experiment(sampling=FEW), sde)
    keys, shape = sample_keys(seed_key(0), 4), (4, 3, 64, 64, 1)
    plain = optimised(lambda k: run(k, sde, score, shape))(keys)
    joint = optimised(
        lambda k: correlated_along_z(run, jnp.asarray(factor(3)))(k, sde, score, shape)
    )(keys)
    assert bool(joint.ok.all())
    x, alone = (np.asarray(s.x).transpose(1, 0, 2, 3, 4).reshape(3, -1) for s in (joint, plain))
    # 16384 values a slice: standard errors of 0.004 (mean), 0.003 (std) and 0.003 (correlation).
    np.testing.assert_allclose(x.mean(1), alone.mean(1), atol=0.02)
    np.testing.assert_allclose(x.std(1), alone.std(1), rtol=0.03)
    expected = factor(3) @ factor(3).T
    np.testing.assert_allclose(np.corrcoef(x), expected, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(alone), np.eye(3), atol=0.04)


@pytest.mark.parametrize("name", ["ddpm", "unipc"])
def test_noise_may_be_as_alike_as_its_frequency_says(name):
    """The draws of a linear score are as alike as their noise, now by frequency in the plane."""
    sde, alike = VPSDE(), (0.9, 0.8, 0.6, 0.4, 0.2)
    factors = jnp.asarray([np.linalg.cholesky([[1, a], [a, 1]]) for a in alike], jnp.float32)

    def score(x, t):
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        return (alpha * MEAN - x) / (alpha**2 * WIDTH**2 + std**2)

    run = correlated_along_z(sampler_fn(name, Experiment(sampling=FEW), sde), factors)
    shape = (16, 2, 64, 64, 1)
    x = optimised(lambda k: run(k, sde, score, shape).x)(sample_keys(seed_key(0), 16))
    np.testing.assert_allclose(x.std(axis=(0, 2, 3, 4)), WIDTH, rtol=0.05)
    parts = transformed(x - MEAN)[..., 0]
    bands = nearest(64, 64)
    first, second = parts[:, 0], parts[:, 1]
    found = [np.corrcoef(first[:, bands == f].ravel(), second[:, bands == f].ravel())[0, 1]
             for f in range(5)]  # fmt: skip
    # 16 x 6 coefficients at the lowest frequency, 16 x 25, 100, 400 and 3400 at the others.
    assert found[:2] == pytest.approx(alike[:2], abs=0.1)
    assert found[2:] == pytest.approx(alike[2:], abs=0.04)


def test_noise_alone_has_the_correlation_of_its_frequency():
    alike = (0.9, 0.8, 0.6, 0.4, 0.2)
    factors = jnp.asarray([np.linalg.cholesky([[1, a], [a, 1]]) for a in alike], jnp.float32)
    keys, shape = sample_keys(seed_key(0), 16), (2, 64, 64, 1)
    noise = correlated_noise(keys, factors, shape)
    assert noise.shape == (16, *shape)
    np.testing.assert_allclose(noise.std(axis=(0, 2, 3, 4)), 1, rtol=0.01)  # 65536 values
    parts, bands = transformed(noise)[..., 0], nearest(64, 64)
    for f, a in enumerate(alike):  # 16 x 25 coefficients at the second frequency, more later
        first, second = (parts[:, z, bands == f].ravel() for z in (0, 1))
        assert np.corrcoef(first, second)[0, 1] == pytest.approx(a, abs=0.1 if f < 2 else 0.04)
    # Without factors by frequency, it is what networks of earlier versions get.
    plain = jax.vmap(lambda key: jax.random.normal(key, shape))(keys)
    np.testing.assert_array_equal(correlated_noise(keys, None, shape), plain)
    mixed = correlated_noise(keys, factors[0], shape)
    np.testing.assert_allclose(mixed[:, 1], 0.9 * plain[:, 0] + 0.19**0.5 * plain[:, 1], atol=1e-5)


def test_the_identity_changes_nothing():
    sde = VPSDE()
    run = sampler_fn("em", Experiment(sampling=FEW), sde)
    keys, shape = sample_keys(seed_key(1), 2), (2, 3, 4, 4, 1)
    plain = run(keys, sde, lambda x, t: -x, shape)
    joint = correlated_along_z(run, jnp.eye(3))(keys, sde, lambda x, t: -x, shape)
    np.testing.assert_allclose(joint.x, plain.x, atol=1e-5)  # sums of float32 in another order
    # With a factor for each frequency, the noise is that of the cosine transforms.
    identities = jnp.broadcast_to(jnp.eye(3), (5, 3, 3))
    joint = correlated_along_z(run, identities)(keys, sde, lambda x, t: -x, shape)
    order = np.argsort(nearest(4, 4).ravel(), kind="stable")
    found = transformed(joint.x).reshape(2, 3, 16)[..., order]
    np.testing.assert_allclose(found, plain.x.reshape(2, 3, 16), atol=1e-5)
