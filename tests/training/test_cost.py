"""What a training and a synthesis cost, before they are made."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.methods import build_network
from sde_ct.models.flops import flops, lowered
from sde_ct.runtime import parallel
from sde_ct.training.cost import Cost, estimate, measure

from .. import tiny


@pytest.mark.parametrize(("method", "evaluations"), [("cnn", 1), ("diffusion", 1), ("residual", 2)])
def test_the_estimate_is_of_one_evaluation(method, evaluations):
    """A draw of a residual network with one step evaluates the regression and the denoiser."""
    config = tiny.experiment(method)
    cost = estimate(config, (24, 20))
    assert cost.evaluations == evaluations
    network = build_network(config)
    channels = {"cnn": 1, "diffusion": 2, "residual": 3}[method]
    x, label = jnp.zeros((1, 24, 20, channels)), None if method == "cnn" else jnp.zeros(1)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), x, label))
    own = flops(lowered(jax.jit(network.apply), params, x, label))
    # A draw takes a few operations besides those of the network.
    assert cost.evaluation_flops == pytest.approx(own, rel=0.1)
    one = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert cost.parameters == evaluations * one + (method == "residual")  # the residual's scale


def test_listed_times_do_not_change_the_cost():
    config = tiny.experiment()
    config.diffusion.times, config.diffusion.listed = "listed", (99, 499, 999)
    one, other = estimate(config, (24, 20)), estimate(tiny.experiment(), (24, 20))
    assert one.evaluations == 1 and one.evaluation_flops == other.evaluation_flops


@pytest.mark.parametrize(("devices", "memory"), [(1, "14 MB"), (4, "44 MB")])
def test_every_device_holds_the_whole_state(devices, memory, monkeypatch):
    monkeypatch.setattr(parallel, "devices_for", lambda batch_size: [None] * devices)
    config = tiny.experiment()
    config.data.batch_size = 4
    cost = Cost(1, 1, 1.0, 1.0, state_bytes=10e6, kept_bytes=1e6)
    assert cost.training(config).endswith(f"at most {memory} over all devices")


def test_the_last_steps_are_measured_too():
    """Of 100 steps the last half takes longer here, as where another network is trained then."""

    def wait(step):
        time.sleep(0.2 if step >= 50 else 0.0)
        return np.int32(step + 1)

    @jax.jit
    def update(step):
        return jax.pure_callback(wait, jax.ShapeDtypeStruct((), jnp.int32), step), {}

    assert measure(update, jnp.int32(0), steps=100).step == pytest.approx(0.1, abs=0.05)
