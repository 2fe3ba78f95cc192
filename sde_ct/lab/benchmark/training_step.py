"""A training step for benchmarks: a function to time, and the operations in its program."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct.config import Experiment, NetworkConfig, SamplingConfig, TrainingConfig
from sde_ct.methods import build_method
from sde_ct.models.flops import flops, lowered
from sde_ct.runtime import parallel
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.types import Batch

FEW = SamplingConfig(
    ddpm_steps=20, em_steps=20, pc_steps=10, fast_evaluations=20, ode_rtol=0.1, ode_atol=0.1
)


def experiment(network: NetworkConfig) -> Experiment:
    """The experiment whose training step and samplers the speed benchmark times."""
    training = TrainingConfig(clip=1.0, ema=0.9999, warmup=10)
    return Experiment(network=network, training=training, sampling=FEW)


def example(config: Experiment, size: int, count: int) -> Batch:
    """`count` random slices of size x size in which every voxel is valid."""
    rng = np.random.default_rng(0)
    shapes = [(count, size, size, channels) for channels in (config.data.channels, 1)]
    mr, ct = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return Batch(mr, ct, np.ones_like(ct))  # type: ignore[arg-type]


def initial_state(config: Experiment, size: int) -> Any:
    """The training state before the first step, on the host."""
    method = build_method(config)
    return jax.device_get(initialised(lambda: fresh_state(method, config, (size, size))))


def timed(
    config: Experiment, size: int, batch: int, devices: Sequence[jax.Device] | None
) -> Callable[[], Any]:
    """A function that trains one step of `batch` slices per device.

    It runs on `devices` by pmap, or on one device by jit if `devices` is None.
    """
    state, count = initial_state(config, size), len(devices or [None])
    keys, slices = example_keys(0, 0, count * batch), example(config, size, count * batch)
    inputs = keys, jax.device_put(slices)
    if devices is None:
        step = jax.jit(build_method(config).update, donate_argnums=0)
        held = {"state": jax.device_put(state)}
    else:
        step = parallel.data_parallel(build_method(config, parallel.AXIS).update, devices)
        held = {"state": parallel.replicate(state, devices)}
        inputs = parallel.shard(inputs, count)

    def call() -> Any:
        held["state"], metrics = step(held["state"], *inputs)
        return metrics

    return call


def program(config: Experiment, size: int, batch: int, count: int = 1) -> Any:
    """The lowered step on `count` devices with `batch` slices each; nothing is run."""
    method, total = build_method(config, parallel.AXIS), count * batch
    step = parallel.data_parallel(method.update, jax.local_devices()[:count])

    def arguments() -> tuple:
        slices = jax.tree.map(jnp.asarray, example(config, size, total))
        inputs = parallel.shard((example_keys(0, 0, total), slices), count)
        return fresh_state(method, config, (size, size)), *inputs

    return lowered(step, *jax.eval_shape(arguments))


class Counted(NamedTuple):
    """The counts of a training step's program on one device."""

    size: int  # height and width of the slices
    batch: int  # slices per device
    parameters: int
    operations: float
    reduced: int  # bytes in all-reduces


def count(config: Experiment, size: int, batch: int) -> Counted:
    """Count a training step with `batch` slices of size x size on each device."""
    method, step = build_method(config), program(config, size, batch)
    weights = jax.eval_shape(lambda: method.weights(fresh_state(method, config, (size, size))))
    parameters = sum(x.size for x in jax.tree.leaves(weights))
    return Counted(size, batch, parameters, flops(step), bytes_reduced(step.as_text()))


def bytes_reduced(text: str) -> int:
    """Bytes of the floating-point results of all all-reduces in a StableHLO program."""
    total = 0
    results = re.findall(r'"stablehlo\.all_reduce".*?\}\) : \([^)]*\) -> ([^\n]*)', text, re.DOTALL)
    for dimensions, bits in re.findall(r"tensor<((?:\d+x)*)b?f(\d+)>", " ".join(results)):
        total += math.prod(int(n) for n in dimensions.split("x") if n) * int(bits) // 8
    return total


def collectives(config: Experiment, size: int, batch: int, count: int) -> int:
    """The number of all-reduces in the step compiled for `count` devices."""
    text = program(config, size, batch, count).compile().as_text()
    return len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text))
