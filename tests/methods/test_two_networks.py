"""A method of two networks, one of them frozen, needs nothing of the package but its public parts.

The frozen network predicts the mean of the CT; a diffusion learns what the mean leaves open.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct.config import DataConfig, Experiment, NetworkConfig, SamplingConfig, TrainingConfig
from sde_ct.methods import build_method, build_network
from sde_ct.methods.regression import predict
from sde_ct.methods.slices import by_slices
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.types import Batch, Method

CONFIG = Experiment(
    network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
    data=DataConfig(batch_size=4),
    training=TrainingConfig(steps=60, learning_rate=3e-3, clip=1.0, ema=0.9),
    sampling=SamplingConfig(em_steps=4),
)


class State(NamedTuple):
    mean: Any  # frozen
    residual: Any


def residual_method(config: Experiment, axis_name=None, *, sampler=None) -> Method:
    """The diffusion of the CT less a frozen regression's prediction."""
    network, inner = build_network(config), build_method(config, axis_name, sampler=sampler)

    def mean(params, mr):
        return predict(params, mr, network=network, data=config.data)

    def residual(state: State, batch: Batch) -> Batch:
        return batch._replace(ct=batch.ct - mean(state.mean, batch.mr))

    def init(key, batch):
        first, second = jax.random.split(key)
        return State(network.init(first, batch.mr[:1]), inner.init(second, batch))

    def update(state, keys, batch):
        trained, metrics = inner.update(state.residual, keys, residual(state, batch))
        return state._replace(residual=trained), metrics

    def draw(params, keys, mr, along_z=None):
        samples = inner.draw(params.residual, keys, mr, along_z)
        return samples._replace(x=samples.x + by_slices(partial(mean, params.mean), mr))

    return Method(
        init,
        update,
        lambda state, keys, batch: inner.loss(state.residual, keys, residual(state, batch)),
        lambda state: state._replace(residual=inner.weights(state.residual)),
        draw,
        is_random=True,
    )


def test_it_trains_and_draws_through_the_interfaces_of_the_loop():
    count = 2
    method = residual_method(CONFIG, parallel.AXIS, sampler="em")
    devices = jax.devices()[:count]
    before = jax.device_get(initialised(lambda: fresh_state(method, CONFIG, (8, 8))))
    update = parallel.data_parallel(method.update, devices)
    mr = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    batch = Batch(mr, -0.5 * mr, np.ones_like(mr))
    state = parallel.replicate(before, devices)
    for step in range(2):
        keys = parallel.shard(example_keys(0, step, 4), count)
        state, metrics = update(state, keys, parallel.shard(batch, count))
    assert parallel.replicas_agree(state) and metrics["skipped"] == 0
    after = jax.device_get(state)
    jax.tree.map(np.testing.assert_array_equal, after.mean, before.mean)
    assert int(after.residual.step) == 2
    keys = slice_keys(0, 0, jnp.arange(4), jnp.zeros(4, int))
    samples = jax.jit(method.draw)(method.weights(after), keys, mr[:, None])
    assert samples.x.shape == (4, 1, 8, 8, 1) and bool(samples.ok.all())
    assert (np.asarray(samples.nfe) == 4).all()
