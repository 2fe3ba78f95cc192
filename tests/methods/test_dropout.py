"""MC dropout of the CNN: draws of a volume from networks without some feature maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.config import DataConfig, Experiment, NetworkConfig, TrainingConfig
from sde_ct.methods import build_method
from sde_ct.models.layers import ResidualBlock
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import sample_keys, seed_key
from sde_ct.training.state import example_keys
from sde_ct.types import Batch

RATE = 0.25


def randomised(params):
    """Parameters without the zeros that hide what a layer does."""
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape).astype(np.float32), params)


def test_dropout_leaves_out_whole_maps_and_keeps_the_expectation():
    """A kernel that copies the maps at the centre shows which maps a draw leaves out."""
    block = ResidualBlock(8, 4, jnp.float32, RATE)
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 8))
    params = randomised(parallel.seldom(block.init)(jax.random.key(1), x, None))
    copy = jnp.zeros((3, 3, 8, 8)).at[1, 1].set(jnp.eye(8))
    params["params"]["conv_out"] = {"kernel": copy, "bias": jnp.zeros(8)}

    @parallel.seldom
    def added(x, keys):
        return block.apply(params, x, None, keys) - x

    full = added(x, None)
    count = 4096
    draws = added(jnp.repeat(x, count, axis=0), sample_keys(seed_key(2), count))
    left_out = jnp.abs(draws).max(axis=(1, 2)) < 1e-6
    kept = draws * ~left_out[:, None, None]
    np.testing.assert_allclose(
        kept, full * ~left_out[:, None, None] / (1 - RATE), atol=1e-5
    )  # float32 rounding of values up to 4
    # 32,768 independent maps: four standard errors of a share.
    assert left_out.mean() == pytest.approx(
        RATE, abs=4 * (RATE * (1 - RATE) / left_out.size) ** 0.5
    )
    # The mean of 4096 draws: five standard errors, the largest of 128 values.
    error = jnp.abs(draws.mean(axis=0) - full[0])
    assert (error < 5 * jnp.abs(full[0]) * (RATE / (1 - RATE) / count) ** 0.5 + 1e-5).all()


@pytest.fixture(scope="module")
def cnn():
    network = NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2, dropout=RATE)
    training = TrainingConfig(steps=60, learning_rate=3e-3, warmup=3, clip=1.0, ema=0.9)
    return build_method(
        Experiment(method="cnn", network=network, data=DataConfig(batch_size=4), training=training)
    )


@pytest.fixture(scope="module")
def batch() -> Batch:
    mr = jax.random.uniform(jax.random.key(5), (4, 8, 8, 1), minval=-1.0)
    return Batch(mr, -0.5 * mr, jnp.ones_like(mr))


def test_a_draw_is_one_network_for_all_slices_of_its_volume(cnn, batch):
    """Three copies of one slice have the same CT in a draw, and other CTs in other draws."""
    params = randomised(cnn.weights(cnn.init(jax.random.key(0), batch)))
    mr = jnp.broadcast_to(batch.mr[:1], (3, 3, 8, 8, 1))
    keys = sample_keys(seed_key(1), 3)
    draw = parallel.seldom(cnn.draw)
    x = draw(params, keys, mr).x
    assert cnn.is_random
    np.testing.assert_allclose(x[:, 0], x[:, 2], atol=1e-6)  # rounding at other places of a batch
    spread = x[:, 0].std(axis=0)
    assert (spread > 1e-3).mean() > 0.9
    alone = draw(params, keys[1:2], mr[1:2]).x
    np.testing.assert_allclose(alone[0], x[1], atol=1e-6)


def test_it_learns(cnn, batch):
    update, loss = parallel.seldom(cnn.update), parallel.seldom(cnn.loss)
    state = cnn.init(jax.random.key(0), batch)
    keys = example_keys(1, 0, 4)
    before = loss(state, keys, batch)["loss"]
    for step in range(60):
        state, metrics = update(state, example_keys(0, step, 4), batch)
    assert metrics["skipped"] == 0
    assert loss(state, keys, batch)["loss"] < 0.5 * before
