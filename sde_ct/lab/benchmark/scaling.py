"""The efficiency of training on several devices: predicted from the program, and measured.

The step of one device is lowered for an abstract batch and never run. XLA counts its operations,
and its all-reduces give the number of bytes that the devices exchange. (Compiling a large network
takes minutes on a CPU. For a tiny one, the compiled program exchanges the same bytes and has up to
50 % more operations, because fusions repeat cheap work.)

The prediction for n devices with equal batches (weak scaling) is

    compute = operations / (peak · utilisation)
    ring    = 2 (n - 1) / n · bytes / bandwidth + 2 (n - 1) · latency
    efficiency = compute / (compute + ring)

It assumes a ring all-reduce (Patarasuk & Yuan, J. Parallel Distrib. Comput. 69(2), 2009) over equal
links with the bandwidth of the data sheet, after the last gradient and not overlapped with the
computation. It ignores data loading, slow devices and other jobs on the network. Trees and
reductions in the switch need fewer hops than 2 (n - 1). With them, many devices are more efficient
than predicted where latency dominates.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from sde_ct.config import Experiment, recipe
from sde_ct.lab.benchmark import training_step
from sde_ct.lab.benchmark.training_step import Counted
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import race

DEVICES = (8, 64, 512)
PEAK = 989e12  # operations/s of an H100 SXM in bfloat16, dense: half of NVIDIA's 1979 (data sheet)
UTILISATION = 0.3  # share of the peak, assumed for convolutions of 64 to 256 channels


class Link(NamedTuple):
    """The connection from a device to the next one in the ring."""

    name: str
    bandwidth: float  # bytes/s in one direction
    latency: float  # seconds per hop with the software's overhead; an assumption


LINKS = (
    # NVIDIA's H100 data sheet: 900 GB/s per GPU, both directions together.
    Link("NVLink 4, 450 GB/s", 450e9, 3e-6),
    # NVIDIA's ConnectX-7 data sheet: 400 Gb/s per port, with one port per GPU.
    Link("InfiniBand NDR, 50 GB/s", 50e9, 6e-6),
)


def ring(link: Link, devices: int, size: float) -> float:
    """Seconds of a ring all-reduce of `size` bytes."""
    hops = 2 * (devices - 1)
    return hops / devices * size / link.bandwidth + hops * link.latency


def efficiency(counted: Counted, link: Link, devices: int, compute: float | None = None) -> float:
    """The throughput, divided by `devices` times the throughput of one device.

    `compute` is the measured time of a step in seconds; None predicts it.
    """
    if compute is None:
        compute = counted.operations / (PEAK * UTILISATION)
    return compute / (compute + ring(link, devices, counted.reduced))


def measure(
    config: Experiment, size: int, batch: int, counts: Sequence[int], repeats: int = 5
) -> list[dict[str, float]]:
    """The seconds of a step and the efficiency for each number of devices in `counts`.

    Each device has `batch` slices. The first of `counts` must be 1; its efficiency is 1.
    """
    devices = jax.local_devices()
    calls = {str(n): training_step.timed(config, size, batch, devices[:n]) for n in counts}
    seconds = list(race(calls, repeats).values())
    return [
        {"devices": n, "seconds": s, "efficiency": seconds[0] / s}
        for n, s in zip(counts, seconds, strict=True)
    ]


def predict(config: Experiment, name: str, size: int, batch: int) -> dict[str, Any]:
    """What a training step of a recipe contains, and its efficiency by link and device count."""
    counted = training_step.count(config, size, batch)
    table = {link.name: {n: efficiency(counted, link, n) for n in DEVICES} for link in LINKS}
    return {"recipe": name, **counted._asdict(), "efficiency": table}


def run(recipes: Path) -> dict[str, Any]:
    """Predict the scaling of the recipe gold_atlas/ddpm, and measure it on 1 to 8 local devices.

    On a CPU, whose cores are the devices, demo/ddpm is measured instead.
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
        "measured": measured,
    }


def lines(record: dict[str, Any]) -> list[str]:
    """The record in words: the prediction, then the measurements."""
    text = []
    for p in record["predicted"]:
        text.append(
            f"{p['recipe']}, {p['size']} x {p['size']}, {p['batch']} slices a device: "
            f"{p['parameters'] / 1e6:.1f} M parameters, {p['operations'] / 1e12:.2f} TFLOP and "
            f"{p['reduced'] / 1e6:.1f} MB all-reduced a step and device"
        )
        for link, by_count in p["efficiency"].items():
            figures = ", ".join(f"{n}: {value:.1%}" for n, value in by_count.items())
            text.append(f"  {link}, efficiency at devices {figures}")
    text.append(
        f"(ring all-reduce without overlap; H100, {PEAK / 1e12:.0f} TFLOP/s bf16, of which "
        f"{UTILISATION:.0%} are assumed)"
    )
    for m in record["measured"]:
        text.append(
            f"measured on {m['devices']} of {record['devices']}, {record['measured_recipe']}: "
            f"{1e3 * m['seconds']:.0f} ms a step, efficiency {m['efficiency']:.1%}"
        )
    return text
