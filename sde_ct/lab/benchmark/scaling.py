"""How training scales over devices: predicted from the program, and measured on those present.

The step of one device is lowered for an abstract batch, never run: XLA counts the operations of the
unoptimised program, and its all-reduces tell how many bytes the devices exchange. To compile a
large network takes minutes on a CPU. For a tiny one the compiled program has the same bytes and, as
fusions repeat cheap work, up to half as many operations more.

The prediction, for n devices that hold the same batch each (weak scaling):

    compute = operations / (peak · utilisation)
    ring    = 2 (n - 1) / n · bytes / bandwidth + 2 (n - 1) · latency
    efficiency = compute / (compute + ring)

It assumes a ring all-reduce (Patarasuk & Yuan, J. Parallel Distrib. Comput. 69(2), 2009) over links
of equal speed, with all of the bandwidth that the data sheet names, and nothing of it hidden behind
the computation, for the step has one all-reduce, after the last gradient. Loading data, stragglers
and other jobs on the network are left out. Trees and reductions in the switch take fewer hops than
2 (n - 1), so that 512 devices do better than this where the latency rules.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from sde_ct.config import Experiment, recipe
from sde_ct.methods import build_method
from sde_ct.models import winograd
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import race
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.types import Batch

DEVICES = (8, 64, 512)
PEAK = 989e12  # operations/s of an H100 SXM in bfloat16, dense: NVIDIA's data sheet, half of 1979
UTILISATION = 0.3  # of it; an assumption, for convolutions of 64 to 256 channels


class Link(NamedTuple):
    """What joins a device to the next one in the ring."""

    name: str
    bandwidth: float  # bytes/s, one direction
    latency: float  # s a hop, software included; an assumption


LINKS = (
    # 900 GB/s a GPU, both directions together: NVIDIA's H100 data sheet.
    Link("NVLink 4, 450 GB/s", 450e9, 3e-6),
    # 400 Gb/s a port, one port a GPU: NVIDIA's ConnectX-7 data sheet.
    Link("InfiniBand NDR, 50 GB/s", 50e9, 6e-6),
)


class Cost(NamedTuple):
    """A training step on one device, as counted in its program."""

    size: int  # of the square slices
    batch: int  # slices on a device
    parameters: int
    operations: float
    reduced: int  # bytes in all-reduces


def cost(config: Experiment, size: int, batch: int) -> Cost:
    """Count a training step with `batch` slices of size x size on each device."""
    method = build_method(config)
    with winograd.direct():  # whose products XLA counts
        lowered = lower(config, size, batch)
    weights = jax.eval_shape(lambda: method.weights(fresh_state(method, config, (size, size))))
    return Cost(
        size,
        batch,
        sum(x.size for x in jax.tree.leaves(weights)),
        float(lowered.cost_analysis()["flops"]),
        bytes_reduced(lowered.as_text()),
    )


def lower(config: Experiment, size: int, batch: int, count: int = 1) -> Any:
    """The training step of `count` devices, lowered for shapes alone."""
    method = build_method(config, parallel.AXIS)
    step = parallel.data_parallel(method.update, jax.local_devices()[:count])
    state = jax.eval_shape(lambda: fresh_state(method, config, (size, size)))
    keys = jax.eval_shape(lambda: parallel.shard(example_keys(0, 0, count * batch), count))
    channels = (1 + 2 * config.data.neighbours, 1, 1)
    images = (jax.ShapeDtypeStruct((count, batch, size, size, c), jnp.float32) for c in channels)
    return step.lower(state, keys, Batch(*images))  # type: ignore[arg-type]


def bytes_reduced(text: str) -> int:
    """Bytes of the results of all all-reduces in a StableHLO program."""
    total = 0
    results = re.findall(r'"stablehlo\.all_reduce".*?\}\) : \([^)]*\) -> ([^\n]*)', text, re.DOTALL)
    for dimensions, bits in re.findall(r"tensor<((?:\d+x)*)b?f(\d+)>", " ".join(results)):
        total += math.prod(int(n) for n in dimensions.split("x") if n) * int(bits) // 8
    return total


def ring(link: Link, devices: int, size: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes."""
    hops = 2 * (devices - 1)
    return hops / devices * size / link.bandwidth + hops * link.latency


def efficiency(cost: Cost, link: Link, devices: int, compute: float | None = None) -> float:
    """Throughput over `devices` times that of one; `compute` seconds a step, where measured."""
    if compute is None:
        compute = cost.operations / (PEAK * UTILISATION)
    return compute / (compute + ring(link, devices, cost.reduced))


class Measured(NamedTuple):
    """A training step over several devices here, each with the same batch."""

    devices: int
    seconds: float
    efficiency: float


def measure(
    config: Experiment, size: int, batch: int, counts: Sequence[int], repeats: int = 5
) -> list[Measured]:
    """Time the step over the first of the devices present; the first of `counts` should be 1."""
    calls = {str(n): training_step(config, size, batch, n) for n in counts}
    seconds = race(calls, repeats)
    alone = seconds[str(counts[0])] / counts[0]
    return [Measured(n, seconds[str(n)], alone / seconds[str(n)]) for n in counts]


def training_step(config: Experiment, size: int, batch: int, count: int) -> Callable[[], Any]:
    """A call that trains one step on `count` devices."""
    devices = jax.local_devices()[:count]
    step = parallel.data_parallel(build_method(config, parallel.AXIS).update, devices)
    state = initialised(lambda: fresh_state(build_method(config), config, (size, size)))
    held = {"state": parallel.replicate(jax.device_get(state), devices)}
    total = batch * count
    channels = (1 + 2 * config.data.neighbours, 1, 1)
    images = Batch(*(jnp.ones((total, size, size, c), jnp.float32) for c in channels))
    rows = parallel.shard((example_keys(0, 0, total), images), count)

    def call() -> Any:
        held["state"], metrics = step(held["state"], *rows)
        return metrics

    return call


def lines(record: dict[str, Any]) -> list[str]:
    """The record in words: prediction, then what was measured."""
    told = []
    for p in record["predicted"]:
        told.append(
            f"{p['recipe']}, {p['size']} x {p['size']}, {p['batch']} slices a device: "
            f"{p['parameters'] / 1e6:.1f} M parameters, {p['operations'] / 1e12:.2f} TFLOP and "
            f"{p['reduced'] / 1e6:.1f} MB all-reduced a step and device"
        )
        for link, by_count in p["efficiency"].items():
            figures = ", ".join(f"{n}: {value:.1%}" for n, value in by_count.items())
            told.append(f"  {link}, efficiency at devices {figures}")
    told.append(
        f"(ring all-reduce, not hidden; H100, {PEAK / 1e12:.0f} TFLOP/s bf16, of which "
        f"{UTILISATION:.0%} are assumed)"
    )
    for m in record["measured"]:
        told.append(
            f"measured on {m['devices']} of {record['devices']}, {record['measured_recipe']}: "
            f"{1e3 * m['seconds']:.0f} ms a step, efficiency {m['efficiency']:.1%}"
        )
    return told


def predict(config: Experiment, name: str, size: int, batch: int) -> dict[str, Any]:
    """The counts of a recipe and its efficiency by link and number of devices."""
    counted = cost(config, size, batch)
    table = {link.name: {n: efficiency(counted, link, n) for n in DEVICES} for link in LINKS}
    return {"recipe": name, **counted._asdict(), "efficiency": table}


def run(recipes: Path) -> dict[str, Any]:
    """The prediction for the network of `gold_atlas/`, and what is measured here.

    On a CPU, whose cores are the devices, the demo's network is measured in its place.
    """
    large = recipe(recipes / "gold_atlas" / "ddpm.py")
    batch = large.data.batch_size
    predicted = [predict(large, "configs/gold_atlas/ddpm.py", 256, n) for n in (batch, 1)]
    name, size = ("demo", 48) if jax.default_backend() == "cpu" else ("gold_atlas", 256)
    each = 4 if name == "demo" else batch
    counts = [n for n in (1, 2, 4, 8) if n <= len(jax.local_devices())]
    measured = measure(recipe(recipes / name / "ddpm.py"), size, each, counts)
    return {
        "devices": parallel.describe_devices(),
        "jax": jax.__version__,
        "predicted": predicted,
        "measured_recipe": f"configs/{name}/ddpm.py, {size} x {size}, {each} slices a device",
        "measured": [m._asdict() for m in measured],
    }
