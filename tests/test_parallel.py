"""Placing trees on devices, and telling whether replicas drifted apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import parallel


def test_shard_gives_each_device_its_own_rows():
    rows = np.arange(24).reshape(8, 3)
    sharded = parallel.shard({"a": rows}, 4)["a"]
    assert sharded.shape == (4, 2, 3)
    np.testing.assert_array_equal(sharded.reshape(8, 3), rows)


def test_replicas_agree_compares_bits_and_knows_nan():
    devices = jax.devices()[:4]
    tree = {"a": jnp.array([1.0, jnp.nan]), "key": jax.random.key(0)}
    assert parallel.replicas_agree(parallel.replicate(tree, devices))
    drift = parallel.data_parallel(
        lambda state, key, x: (state + jax.lax.axis_index(parallel.AXIS) * 1e-7, {}), devices
    )
    state, _ = drift(jnp.ones(3), jnp.zeros((4, 1)), jnp.zeros((4, 1)))
    assert not parallel.replicas_agree({"a": state})


@pytest.mark.parametrize(("batch", "count"), [(8, 4), (6, 2), (3, 1)])
def test_cores_are_used_as_far_as_they_divide_the_batch(batch, count):
    assert len(jax.local_devices()) == 4
    assert parallel.devices_for(batch) == jax.local_devices()[:count]


def test_shared_out_replicates_the_first_and_splits_the_rest():
    double = parallel.shared_out(lambda shared, x, y: shared * x + y, jax.devices()[:4])
    x = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(double(jnp.float32(2.0), (x, x)), 3 * x)
