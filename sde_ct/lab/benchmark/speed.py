"""How near one evaluation comes to the machine's limit, and what a sampler adds to it.

What was tried on CPU (JAX 0.12, two cores), and what came of it:

- Group normalisation as two sums and one affine map a channel: forward 1.2 times as fast. Kept.
- Cores as devices: inside a loop XLA runs a network on one core, so that a sampler took twice the
  time of as many jitted calls; on two devices it takes 5.3 ms a slice and evaluation of the demo's
  network, not 10. Kept (`parallel.set_up`).
- Optimiser and moving average on one vector, one all-reduce: 1717 fusions in the demo's training
  step became 924, compilation 16 s became 12. Kept (`methods.step`).
- 3 x 3 convolutions by a fused kernel of Winograd's F(4 x 4, 3 x 3) in C++: from 12 x 12 pixels on
  most single ones and their gradients are 1.4-3.5 times as fast, slower below, and forward for one
  slice of 16 x 16 with 512 channels (0.8 times). With the next item, from one run to another
  (matrix products 165 and 184 GFLOP/s), the paper's network at 64 x 64 went from 327 ms to 200
  forward and from 1392 to 815 in training, at 128 x 128 from 1193 to 624 and from 5934 to 2455.
  Kept (`sde_ct.models.winograd`). As plain matrix products Winograd lost in XLA what it won: every
  transformed tile went to memory.
- Freed memory kept by the allocator: a training step at 128 x 128 cleared 400,000 pages, a third
  of its time; at 64 x 64 the step went from 971 ms to 679. Kept (`parallel.set_up`). Huge pages
  beside it: 5 % more, but only by the environment of a process that starts. Left alone.
- Convolutions of stride 2 as every second pixel of a Winograd convolution: the same forward; the
  input's gradient at 128 x 128, 105 ms in a step's profile, became one of about 11. Kept
  (`models.layers.Conv3x3`).
- The 3 x 3 weight gradient, 2-4 times its forward in XLA: as nine products of shifted images
  (0.5-1.7 times as fast, by shape), as one product of nine shifted images side by side (faster for
  8 x 8 pixels alone). Left to XLA below 12 x 12 pixels.
- Upsampling and its 3 x 3 convolution as four phases of 2 x 2 taps: the network's largest layer
  24 ms became 14, with its gradients 60 became 38. Kept where Winograd does not apply. As one
  convolution with four times the channels as fast, but its gradient 57 times slower.
- XLA's switches for oneDNN and YNNPACK, 512-bit vectors: the same or slower. Single convolutions
  run at 180-200 GFLOP/s here, a matrix product at 200: what was left was doing fewer products.
- LLVM at level 1, no expensive passes, fewer code splits: the same compilation, slower steps.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct.config import DataConfig, Experiment, NetworkConfig, SamplingConfig, TrainingConfig
from sde_ct.methods import build_method, build_network, build_sde
from sde_ct.methods.diffusion import form_of, score_fn
from sde_ct.methods.sample import draw_fn, slice_keys
from sde_ct.models.flops import flops, lowered
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import LOOP, race
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.types import Batch

PAPER = NetworkConfig(channels=64, multipliers=(1, 2, 2, 4, 4), blocks=2, groups=32)
SAMPLERS = ("ddpm", "em", "pc", "dpm", "ode")
FEW = SamplingConfig(
    ddpm_steps=20, em_steps=20, pc_steps=10, fast_evaluations=20, ode_rtol=0.1, ode_atol=0.1
)


def experiment(network: NetworkConfig, batch: int) -> Experiment:
    training = TrainingConfig(clip=1.0, ema=0.9999, warmup=10)
    return Experiment(
        network=network, data=DataConfig(batch_size=batch), training=training, sampling=FEW
    )


def example(size: int, batch: int) -> Batch:
    rng = np.random.default_rng(0)
    mr, ct, mask = (rng.normal(size=(batch, size, size, 1)).astype(np.float32) for _ in range(3))
    return Batch(mr, ct, np.ones_like(mask))  # type: ignore[arg-type]


def forward(config: Experiment, params: Any, batch: Batch) -> tuple[Callable, tuple]:
    """The jitted score at one noise level, and its arguments."""

    def score(params, x, mr, t):
        return score_fn(
            params, mr, sde=build_sde(config), network=build_network(config), form=form_of(config)
        )(x, t)

    return jax.jit(score), (params, batch.ct, batch.mr, jnp.full(len(batch.mr), 0.5))


class Ours(NamedTuple):
    """The network of this package at one size: calls to time, what XLA counts in them."""

    calls: dict[str, Callable[[], Any]]  # forward, loop, train, train pmap
    flops: dict[str, float]
    parameters: int


def ours(network: NetworkConfig, size: int, batch: int) -> Ours:
    """One evaluation, `LOOP` of them in a sampler, and a training step, plain and pmapped."""
    config, data = experiment(network, batch), example(size, batch)
    device = jax.local_devices()[:1]
    plain, mapped = build_method(config), build_method(config, parallel.AXIS)
    state = jax.device_get(initialised(lambda: fresh_state(plain, config, (size, size))))
    keys = example_keys(0, 0, batch)
    step = jax.jit(plain.update, donate_argnums=0)
    pmapped = parallel.data_parallel(mapped.update, device)
    sharded = parallel.shard(keys, 1), parallel.shard(data, 1)
    states = {"jit": jax.device_put(state), "pmap": parallel.replicate(state, device)}
    batch_on_device = jax.device_put(data)

    def train():
        states["jit"], metrics = step(states["jit"], keys, batch_on_device)
        return metrics

    def train_pmap():
        states["pmap"], metrics = pmapped(states["pmap"], *sharded)
        return metrics

    score, arguments = forward(config, jax.device_put(state.params), batch_on_device)
    return Ours(
        {
            "forward": lambda: score(*arguments),
            "loop": ddpm_loop(config, state.params, data),
            "train": train,
            "train pmap": train_pmap,
        },
        {
            "forward": flops(lowered(score, *arguments)),
            "train": flops(lowered(step, states["jit"], keys, batch_on_device)),
        },
        sum(x.size for x in jax.tree.leaves(state.params)),
    )


def ddpm_loop(config: Experiment, params: Any, batch: Batch) -> Callable[[], Any]:
    """`LOOP` steps of DDPM as `Synthesizer` runs them: the batch spread over all devices."""
    count = math.gcd(len(batch.mr), len(jax.local_devices()))
    devices = jax.local_devices()[:count]
    few = dataclasses.replace(config, sampling=SamplingConfig(ddpm_steps=LOOP))
    draw = parallel.shared_out(draw_fn(few, "ddpm"), devices)
    keys = slice_keys(0, 0, np.arange(len(batch.mr)), np.zeros(len(batch.mr), int))
    placed, sharded = parallel.replicate(params, devices), parallel.shard((keys, batch.mr), count)
    return lambda: draw(placed, sharded)


def collectives(network: NetworkConfig, size: int, batch: int, devices: int) -> int:
    """All-reduces in the training step compiled for several devices."""
    config = experiment(network, batch)
    method = build_method(config, parallel.AXIS)
    several = jax.local_devices()[:devices]
    state = jax.eval_shape(lambda: fresh_state(method, config, (size, size)))
    shapes = jax.eval_shape(
        lambda: (
            parallel.shard(example_keys(0, 0, batch), devices),
            parallel.shard(jax.tree.map(jnp.asarray, example(size, batch)), devices),
        )
    )
    text = parallel.data_parallel(method.update, several).lower(state, *shapes).compile().as_text()
    return len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text))


def overheads(network: NetworkConfig, size: int, batch: int) -> dict[str, dict[str, float]]:
    """Per sampler: its time over that of as many calls of the network, each on all devices.

    `batch` samples a device. The network alone is the jitted score, mapped over the devices as
    the samplers are.
    """
    devices = jax.local_devices()
    total = batch * len(devices)
    config, data = experiment(network, total), example(size, total)
    method = build_method(config)
    state = jax.device_get(initialised(lambda: fresh_state(method, config, (size, size))))
    # The head is zero at first: a network without structure lets the ODE take giant steps.
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + rng.normal(scale=0.02, size=x.shape).astype(np.float32), state.params
    )
    params = parallel.replicate(params, devices)
    score, _ = forward(config, params, data)
    alone = parallel.shared_out(lambda p, x, mr, t: score(p, x, mr, t), devices)
    keys = slice_keys(0, 0, np.zeros(total, int), np.arange(total))
    sharded = parallel.shard((data.ct, data.mr, jnp.full(total, 0.5)), len(devices))
    calls = {"network": lambda: alone(params, sharded)}
    evaluations = {}
    for name in SAMPLERS:
        draw = parallel.shared_out(draw_fn(config, name), devices)
        inputs = parallel.shard((keys, data.mr), len(devices))
        calls[name] = lambda draw=draw, inputs=inputs: draw(params, inputs)  # type: ignore[misc]
        # The ODE goes on until its last sample is done.
        evaluations[name] = float(np.max(jax.device_get(calls[name]().nfe)))
    seconds = race(calls, repeats=5)
    return {
        name: {
            "evaluations": evaluations[name],
            "seconds": seconds[name],
            "overhead": seconds[name] / (evaluations[name] * seconds["network"]),
        }
        for name in SAMPLERS
    } | {"network": {"evaluations": 1.0, "seconds": seconds["network"], "overhead": 1.0}}


def measure(network: NetworkConfig, size: int, batch: int, *, torch: bool, repeats: int) -> dict:
    """Seconds of every contender at one size, in one race, and the ratios that follow."""
    mine = ours(network, size, batch)
    calls, theirs = dict(mine.calls), 0
    if torch:
        from sde_ct.lab.benchmark import torch_side  # an extra, and slow to import

        more, theirs = torch_side.contenders(network, size, batch)
        calls |= more
    limit = matrix_product(network.dtype)
    seconds = race(calls | {"matrix": limit.call}, repeats)
    rate = limit.flops / seconds["matrix"]
    result = {
        "size": size,
        "batch": batch,
        "dtype": network.dtype,
        "parameters": mine.parameters,
        "parameters_torch": theirs,
        "seconds": seconds,
        "matrix_flops": rate,
        "share_forward": mine.flops["forward"] / seconds["forward"] / rate,
        "share_train": mine.flops["train"] / seconds["train"] / rate,
        "pmap_over_jit": seconds["train pmap"] / seconds["train"],
    }
    for tag in ("eager", "compiled"):
        if f"torch {tag} forward" in seconds:
            result[f"forward_speedup_{tag}"] = seconds[f"torch {tag} forward"] / seconds["forward"]
            result[f"train_speedup_{tag}"] = seconds[f"torch {tag} train"] / seconds["train"]
            result[f"sampling_speedup_{tag}"] = seconds[f"torch {tag} loop"] / seconds["loop"]
    return result


class Product(NamedTuple):
    """A large matrix product: the rate that stands for the machine's limit."""

    call: Callable[[], Any]
    flops: float


def matrix_product(dtype: str) -> Product:
    side = 8192 if jax.default_backend() == "gpu" else 2048
    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a: a @ a)
    return Product(lambda: product(a), 2.0 * side**3)


def lines(record: dict) -> list[str]:
    """The record in words, a line a figure."""
    told = [f"{record['devices']}, JAX {record['jax']}"]
    for m in record["measured"]:
        forward, train = (1e3 * m["seconds"][name] for name in ("forward", "train"))
        told.append(
            f"{m['size']} x {m['size']}, batch {m['batch']}, {m['dtype']}, "
            f"{m['parameters'] / 1e6:.1f} M parameters: forward {forward:.0f} ms, "
            f"{m['share_forward']:.0%} of the matrix product's {m['matrix_flops'] / 1e9:.0f} "
            f"GFLOP/s; training step {train:.0f} ms, {m['share_train']:.0%}; pmap over jit "
            f"{m['pmap_over_jit']:.3f}"
        )
        told += [_beside(m, tag) for tag in ("eager", "compiled") if f"forward_speedup_{tag}" in m]
    told.append(f"all-reduces in the compiled training step: {record['collectives']}")
    overheads = {name: o for name, o in record["overheads"].items() if name != "network"}
    for name, o in overheads.items():
        told.append(f"{name} over its {o['evaluations']:.0f} evaluations: {o['overhead']:.3f}")
    return told


def _beside(m: dict, tag: str) -> str:
    forward, loop, train = (m[f"{what}_speedup_{tag}"] for what in ("forward", "sampling", "train"))
    return (
        f"  beside PyTorch {tag} ({m['parameters_torch'] / 1e6:.1f} M parameters): forward "
        f"{forward:.2f}, an evaluation of the DDPM loop {loop:.2f}, training step {train:.2f} "
        "times as fast"
    )
