"""The speed benchmark's counts and records; the speed of a machine itself is not tested."""

import time

import jax
import jax.numpy as jnp
import pytest

from sde_ct.config import NetworkConfig
from sde_ct.lab.benchmark import speed, training_step
from sde_ct.models.flops import flops
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import race

TINY = NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2)


def test_a_race_gives_medians_of_whole_calls():
    seconds = race({"long": lambda: time.sleep(0.02), "short": lambda: time.sleep(0.002)}, 3)
    assert 0.02 <= seconds["long"] < 0.2 and 0.002 <= seconds["short"] < seconds["long"]


def test_flops_are_those_of_the_program():
    product = jax.jit(lambda a: a @ a).lower(jnp.ones((64, 64))).compile()
    assert flops(product) == pytest.approx(2 * 64**3, rel=0.05)


@pytest.mark.parametrize("devices", [2, 4])
def test_a_training_step_has_one_collective(devices):
    assert training_step.collectives(speed.experiment(TINY), 16, 4 // devices, devices) == 1


@pytest.mark.slow
def test_the_record_is_complete(monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:2])
    monkeypatch.setattr(speed, "TIMED", ("pc", "dpm", "ode"))
    record = {"devices": parallel.describe_devices(), "jax": jax.__version__, "collectives": 1}
    measured = speed.measure(TINY, 16, batch=2, torch=False, repeats=3)
    record["measured"] = [measured]
    record["overheads"] = speed.overheads(TINY, 16, 2)
    assert set(measured["seconds"]) == {"forward", "loop", "train", "train pmap", "matrix"}
    assert all(seconds > 0 for seconds in measured["seconds"].values())
    assert 0 < measured["share_forward"] < 2 and 0 < measured["share_train"] < 2
    evaluations = {name: o["evaluations"] for name, o in record["overheads"].items()}
    assert evaluations.pop("ode") >= 7
    assert evaluations == {"pc": 20, "dpm": 20, "network": 1}
    text = "\n".join(speed.lines(record))
    assert "training step" in text and "time of dpm over that of its 20 network evaluations" in text
