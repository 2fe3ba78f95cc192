"""Volumes that pass through a network a few slices at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.models import UNet
from sde_ct.models.stream import streamed

SIDE = 8


@pytest.mark.parametrize("depth", [pytest.param(3, marks=pytest.mark.slow), 14])
def test_a_stream_gives_what_the_whole_volumes_give(depth):
    """Two volumes, with random weights, layers between slices at each level, and attention."""
    network = UNet(
        channels=4, multipliers=(1, 2), blocks=1, groups=2, patch=2, attention=(1,), depth=depth
    ).forward
    x = jax.random.normal(jax.random.key(0), (2, depth, SIDE, SIDE, 3))
    noise = jnp.array([0.3, -0.7])
    params = jax.jit(network.init)(jax.random.key(1), x[0], jnp.zeros(depth))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    params = jax.tree.unflatten(
        tree,
        [a + 0.5 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)],
    )

    def inputs(slices):
        return slices, jnp.repeat(noise, len(slices) // 2)

    @jax.jit
    def by_stream(params, x):
        return streamed(network, network.layers_along_z, params, inputs, x)

    whole = jax.jit(network.apply)(params, *inputs(x.reshape(-1, SIDE, SIDE, 3)))
    found = by_stream(params, x)
    # Float32 sums in another order, through eight layers; the outputs have a deviation near 1.
    np.testing.assert_allclose(found, whole.reshape(found.shape), atol=1e-4)
    assert 0.3 < float(whole.std()) < 3
    # The first slice depends on slices of the other chunks.
    if depth > 4:
        other = by_stream(params, x.at[:, 4:].multiply(2.0))
        assert np.abs(other - found)[:, 0].max() > 0.01
