"""The network's speed relative to a matrix product's, and the overhead of the samplers.

docs/experiments.md lists what was tried to make the network faster.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct.config import Experiment, NetworkConfig, SamplingConfig
from sde_ct.evaluation.results import write_figures
from sde_ct.lab.benchmark import training_step
from sde_ct.lab.benchmark.peak_memory import OURS, TORCH, peak_memory
from sde_ct.lab.benchmark.training_step import experiment
from sde_ct.methods import build_method, build_network, build_sde
from sde_ct.methods.diffusion import form_of, score_fn
from sde_ct.models.flops import flops, lowered
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import LOOP, race
from sde_ct.sampling.keys import slice_keys
from sde_ct.types import Batch

PAPER = NetworkConfig(channels=64, multipliers=(1, 2, 2, 4, 4), blocks=2, groups=32)
TIMED = ("ddpm", "em", "pc", "dpm", "ode")  # the samplers whose overhead is measured


def forward(config: Experiment, params: Any, batch: Batch) -> tuple[Callable, tuple]:
    """The jitted score at one noise level, and its arguments."""

    def score(params, x, mr, t):
        form = form_of(config.diffusion, config.data.ct_mean, config.data.ct_std)
        network = build_network(config)
        return score_fn(params, mr, sde=build_sde(config), network=network, form=form)(x, t)

    ct, mr = batch.ct[:, None], batch.mr[:, None]
    return jax.jit(score), (params, ct, mr, jnp.full(len(mr), 0.5))


def ddpm_loop(config: Experiment, params: Any, batch: Batch) -> Callable[[], Any]:
    """`LOOP` steps of DDPM as `Synthesizer` runs them.

    As many devices share the batch as the greatest common divisor of its size and their number.
    """
    count = math.gcd(len(batch.mr), len(jax.local_devices()))
    devices = jax.local_devices()[:count]
    few = dataclasses.replace(config, sampling=SamplingConfig(ddpm_steps=LOOP))
    draw = parallel.shared_out(build_method(few).draw, devices)
    keys = slice_keys(0, 0, np.arange(len(batch.mr)), np.zeros(len(batch.mr), int))
    placed = parallel.replicate(params, devices)
    sharded = parallel.shard((keys, batch.mr[:, None]), count)
    return lambda: draw(placed, sharded)


def overheads(network: NetworkConfig, size: int, batch: int) -> dict[str, dict[str, float]]:
    """Each sampler's time divided by the time of the same number of network evaluations.

    All devices sample `batch` slices each. The network alone is the jitted score, mapped over the
    devices as the samplers are.
    """
    devices = jax.local_devices()
    total = batch * len(devices)
    config = experiment(network)
    data = training_step.example(config, size, total)
    # Random weights, because the initial output is zero and would let the ODE take large steps.
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + rng.normal(scale=0.02, size=x.shape).astype(np.float32),
        training_step.initial_state(config, size).params,
    )
    params = parallel.replicate(params, devices)
    score, _ = forward(config, params, data)
    alone = parallel.shared_out(score, devices)
    keys = slice_keys(0, 0, np.zeros(total, int), np.arange(total))
    ct, mr = data.ct[:, None], data.mr[:, None]
    noisy = parallel.shard((ct, mr, jnp.full(total, 0.5)), len(devices))
    inputs = parallel.shard((keys, mr), len(devices))
    calls: dict[str, Callable] = {"network": lambda: alone(params, noisy)}
    evaluations = {}
    for name in TIMED:
        draw = parallel.shared_out(build_method(config, sampler=name).draw, devices)
        calls[name] = partial(draw, params, inputs)
        # The ODE continues until its last sample has finished.
        evaluations[name] = float(np.max(jax.device_get(calls[name]().nfe)))
    seconds = race(calls, repeats=5)
    return {
        name: {
            "evaluations": evaluations[name],
            "seconds": seconds[name],
            "overhead": seconds[name] / (evaluations[name] * seconds["network"]),
        }
        for name in TIMED
    } | {"network": {"evaluations": 1.0, "seconds": seconds["network"], "overhead": 1.0}}


def measure(network: NetworkConfig, size: int, *, batch: int, torch: bool, repeats: int) -> dict:
    """Median seconds of every program at one size, measured in turn, and their ratios."""
    config, device = experiment(network), jax.local_devices()[:1]
    data = jax.device_put(training_step.example(config, size, batch))
    params = training_step.initial_state(config, size).params
    score, arguments = forward(config, jax.device_put(params), data)
    calls = {
        "forward": lambda: score(*arguments),
        "loop": ddpm_loop(config, params, data),
        "train": training_step.timed(config, size, batch, None),
        "train pmap": training_step.timed(config, size, batch, device),
    }
    theirs = 0
    if torch:
        from sde_ct.lab.benchmark import torch_side  # needs the extra `bench`; slow to import

        more, theirs = torch_side.contenders(network, size, batch)
        calls |= more
    side = 8192 if jax.default_backend() == "gpu" else 2048
    matrix = jnp.ones((side, side), network.dtype)
    product = jax.jit(lambda a: a @ a)  # its rate counts as the machine's limit
    seconds = race(calls | {"matrix": lambda: product(matrix)}, repeats)
    rate, counted = 2.0 * side**3 / seconds["matrix"], training_step.count(config, size, batch)
    result = {
        "size": size,
        "batch": batch,
        "dtype": network.dtype,
        "parameters": counted.parameters,
        "parameters_torch": theirs,
        "seconds": seconds,
        "matrix_flops": rate,
        "share_forward": flops(lowered(score, *arguments)) / seconds["forward"] / rate,
        "share_train": counted.operations / seconds["train"] / rate,
        "pmap_over_jit": seconds["train pmap"] / seconds["train"],
        "peak_bytes": {
            whose: peak_memory(whose, network, size, batch)
            for whose in ((OURS, TORCH) if torch else (OURS,))
        },
    }
    for tag in ("eager", "compiled"):
        if f"torch {tag} forward" in seconds:
            result[f"forward_speedup_{tag}"] = seconds[f"torch {tag} forward"] / seconds["forward"]
            result[f"train_speedup_{tag}"] = seconds[f"torch {tag} train"] / seconds["train"]
            result[f"sampling_speedup_{tag}"] = seconds[f"torch {tag} loop"] / seconds["loop"]
    return result


def run(
    network: NetworkConfig,
    small: NetworkConfig,
    sizes: Iterable[int],
    path: Path,
    **options: Any,
) -> dict[str, Any]:
    """Measure `network` at every size, and the samplers with the network `small`.

    The record is written to `path` after every size and at the end. `small` also gives the number
    of all-reduces. `options` are those of `measure`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "devices": parallel.describe_devices(),
        "jax": jax.__version__,
        "measured": [],
    }
    for size in sizes:
        record["measured"].append(measure(network, size, **options))
        write_figures(path, record)
    count = min(2, len(jax.local_devices()))
    record["collectives"] = training_step.collectives(experiment(small), 32, 4 // count, count)
    record["overheads"] = overheads(small, 48, 10)
    write_figures(path, record)
    return record


def lines(record: dict) -> list[str]:
    """The record in words."""
    text = [f"{record['devices']}, JAX {record['jax']}"]
    for m in record["measured"]:
        forward, train = (1e3 * m["seconds"][name] for name in ("forward", "train"))
        text.append(
            f"{m['size']} x {m['size']}, batch {m['batch']}, {m['dtype']}, "
            f"{m['parameters'] / 1e6:.1f} M parameters: forward {forward:.0f} ms, "
            f"{m['share_forward']:.0%} of the matrix product's {m['matrix_flops'] / 1e9:.0f} "
            f"GFLOP/s; training step {train:.0f} ms, {m['share_train']:.0%}; pmap over jit "
            f"{m['pmap_over_jit']:.3f}"
        )
        text += [
            f"  peak memory of {whose} in a training step: {peak / 1e9:.2f} GB"
            for whose, peak in m["peak_bytes"].items()
            if peak is not None
        ]
        text += [_beside(m, tag) for tag in ("eager", "compiled") if f"forward_speedup_{tag}" in m]
    text.append(f"all-reduces in the compiled training step: {record['collectives']}")
    text += [
        f"time of {name} over that of its {o['evaluations']:.0f} network evaluations: "
        f"{o['overhead']:.3f}"
        for name, o in record["overheads"].items()
        if name != "network"
    ]
    return text


def _beside(m: dict, tag: str) -> str:
    forward, loop, train = (m[f"{what}_speedup_{tag}"] for what in ("forward", "sampling", "train"))
    return (
        f"  beside PyTorch {tag} ({m['parameters_torch'] / 1e6:.1f} M parameters): forward "
        f"{forward:.2f}, an evaluation of the DDPM loop {loop:.2f}, training step {train:.2f} "
        "times as fast"
    )
