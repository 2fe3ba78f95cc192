"""The counts agree with the compiled program, and the model with its limits."""

import re

import jax
import jax.numpy as jnp
import pytest

from sde_ct.lab.benchmark import scaling, training_step
from sde_ct.models.flops import flops
from sde_ct.runtime import parallel

from ... import tiny

CONFIG = tiny.experiment()


def test_each_gradient_and_the_loss_are_reduced_once():
    """Also in the compiled program, which has more operations because its fusions repeat some."""
    counted, lowered = (
        training_step.count(CONFIG, 16, 2),
        training_step.program(CONFIG, 16, 2, count=2),
    )
    assert counted.reduced == training_step.bytes_reduced(lowered.as_text())
    assert counted.reduced == 4 * (counted.parameters + 1)
    compiled = lowered.compile()
    shapes = re.findall(r"= f32\[(\d+)\]\S* all-reduce(?:-start)?\(", compiled.as_text())
    assert 4 * sum(map(int, shapes)) == counted.reduced
    assert 1 <= flops(compiled) / counted.operations < 2


def test_several_all_reduces_and_types_are_added_up():
    def reduce(state, keys, batch):
        a = jax.lax.psum(batch, parallel.AXIS)
        b = jax.lax.psum(batch.astype(jnp.bfloat16)[:3], parallel.AXIS)
        return state, {"a": a, "b": b}

    mapped = parallel.data_parallel(reduce, jax.devices()[:2])
    text = mapped.lower(jnp.ones(2), jnp.ones((2, 1)), jnp.ones((2, 5))).as_text()
    assert training_step.bytes_reduced(text) == 5 * 4 + 3 * 2


def test_the_ring_has_its_known_limits():
    link = scaling.Link("", 100.0, 0.5)
    assert scaling.ring(link, 1, 1e6) == 0
    assert scaling.ring(link, 2, 200.0) == pytest.approx(200 / 100 + 2 * 0.5)
    free = scaling.Link("", 100.0, 0.0)  # twice the data through the link, whatever the number
    assert scaling.ring(free, 10**6, 100.0) == pytest.approx(2.0, rel=1e-5)
    cost = training_step.Counted(
        16, 2, 10, scaling.PEAK * scaling.UTILISATION, 100
    )  # a second of work
    assert scaling.efficiency(cost, free, 10**6) == pytest.approx(1 / 3, rel=1e-5)
    assert scaling.efficiency(cost, free, 10**6, compute=2.0) == pytest.approx(1 / 2, rel=1e-5)


@pytest.mark.slow
def test_the_measurement_is_complete():
    one, two = scaling.measure(CONFIG, 16, 2, [1, 2], repeats=1)
    assert (one["devices"], one["efficiency"], two["devices"]) == (1, 1.0, 2)
    assert two["efficiency"] == pytest.approx(one["seconds"] / two["seconds"])
