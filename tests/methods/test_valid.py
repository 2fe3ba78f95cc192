"""What a CT did not measure neither teaches nor is judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.methods import build_method
from sde_ct.training.state import example_keys
from sde_ct.types import Batch

from .. import tiny


@pytest.mark.parametrize("name", ["cnn", "gan"])
def test_the_loss_does_not_depend_on_the_ct_where_it_is_not_valid(name):
    """Exactly: the error there is multiplied by 0, in the discriminator both pairs are alike."""
    method = build_method(tiny.experiment(name))
    mr = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    valid = jnp.ones_like(mr).at[:, :, 5:].set(0)
    batch = Batch(mr, -0.5 * mr, valid)
    state = method.init(jax.random.key(1), batch)
    keys = example_keys(0, 0, 2)
    key = "loss" if name == "cnn" else "l1"
    loss = jax.jit(method.loss)
    before = loss(state, keys, batch)[key]
    after = loss(state, keys, batch._replace(ct=jnp.where(valid > 0, batch.ct, 7.0)))[key]
    assert float(before) == float(after) > 0
    # The mean is over all voxels: with an error of 0 at 3 of 8 columns it is below that of all.
    whole = loss(state, keys, batch._replace(valid=jnp.ones_like(valid)))[key]
    assert np.isfinite(whole) and float(whole) > float(before)


def test_the_loss_of_diffusion_is_the_sum_over_valid_voxels():
    """The losses of two regions add up to that of all, to float32's rounding; none gives 0."""
    method = build_method(tiny.experiment("diffusion"))
    mr = jax.random.normal(jax.random.key(0), (2, 8, 8, 1))
    ones = jnp.ones_like(mr)
    part = ones.at[:, :, 5:].set(0)
    state = method.init(jax.random.key(1), Batch(mr, -0.5 * mr, ones))
    loss = jax.jit(method.loss)
    keys = example_keys(0, 0, 2)

    def over(valid):
        return float(loss(state, keys, Batch(mr, -0.5 * mr, valid))["loss"])

    assert 0 < over(part) < over(ones)
    assert over(part) + over(ones - part) == pytest.approx(over(ones), rel=1e-5)
    assert over(0 * ones) == 0
