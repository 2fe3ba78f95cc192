"""What training or synthesis costs on this machine, in seconds and bytes.

`estimate` traces the network without compiling it. FLOPs are those that XLA counts in one
evaluation; a training step takes three times as many (the forward pass, and the gradients with
respect to activations and weights). Seconds are the FLOPs divided by the rate measured here for the
network's first level. Bytes are an upper estimate, because XLA shares and fuses some of the arrays
that the backward pass keeps. The estimate for a training step of the demo's DDPM is 4.1 GFLOP and
58 MB; the compiled step takes 4.5 GFLOP and 52 MB.

`measure` compiles a training step and runs it a few times.
"""

import dataclasses
import functools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct.config import Experiment
from sde_ct.methods import build_method, build_network
from sde_ct.models.flops import flops, lowered
from sde_ct.runtime import parallel
from sde_ct.runtime.timing import race
from sde_ct.sampling.keys import seed_key
from sde_ct.training.state import fresh_state

PROBE = 32  # side of the timed slices, pixels
TRAINING = 3  # FLOPs of a training step, in units of one evaluation
STEPS = 3  # measured steps, after a first one that is not counted


class Cost(NamedTuple):
    """The estimate for one network on slices of one size."""

    parameters: int
    evaluation_flops: float  # per slice
    rate: float  # FLOP/s measured here, all devices together
    state_bytes: float  # parameters, moving average, optimiser and gradients
    kept_bytes: float  # per slice, for the backward pass

    def training_bytes(self, slices: int) -> float:
        """Memory of a training step on this number of slices."""
        return self.state_bytes + slices * self.kept_bytes

    def training(self, config: Experiment) -> str:
        steps, batch = config.training.steps, config.data.batch_size
        seconds = TRAINING * steps * batch * self.evaluation_flops / self.rate
        return (
            f"about {duration(seconds)} for {steps} steps of {batch} slices, at most "
            f"{in_bytes(self.training_bytes(batch))} over all devices"
        )

    def synthesis(self, slices: int, evaluations: int, draws: int) -> str:
        seconds = slices * evaluations * draws * self.evaluation_flops / self.rate
        what = f"{slices} slices, {evaluations} evaluations, {draws} draws"
        return f"about {duration(seconds)} for {what}"


def estimate(config: Experiment, size: tuple[int, int]) -> Cost:
    """The cost of a configuration on slices of `size` (h, w), which is padded to fit."""
    multiple = build_network(config).multiple
    height, width = (-(-n // multiple) * multiple for n in size)
    state, weights = _shapes(config, (height, width))
    function, inputs = _evaluation(config, (height, width))
    kept = jax.eval_shape(lambda p: jax.vjp(lambda q: function(q, *inputs(1)), p)[1], weights)
    own = bytes_of(weights)
    return Cost(
        parameters=sum(x.size for x in jax.tree.leaves(weights)),
        evaluation_flops=flops(lowered(jax.jit(function), weights, *inputs(1))),
        rate=_rate(config),
        state_bytes=bytes_of(state) + own,
        kept_bytes=max(0, bytes_of(kept) - own),
    )


def _shapes(config: Experiment, size: tuple[int, int]) -> tuple[Any, Any]:
    """Training state and sampling weights as shapes."""
    method = build_method(config)
    state = jax.eval_shape(lambda: fresh_state(method, config, size))
    return state, jax.eval_shape(method.weights, state)


def _evaluation(config: Experiment, size: tuple[int, int]) -> Any:
    """One network evaluation, f(weights, *inputs(batch)): a draw of a single DDPM step."""
    one = dataclasses.replace(config.sampling, ddpm_steps=1)
    draw = build_method(dataclasses.replace(config, sampling=one)).draw

    def inputs(batch: int) -> tuple[Any, Any]:
        mr = jnp.zeros((batch, *size, config.data.channels))
        return jax.random.split(seed_key(0), batch), mr

    return lambda weights, *given: draw(weights, *given).x, inputs


def _rate(config: Experiment) -> float:
    """FLOP/s of the network's first level with one slice per device; the median of five calls."""
    network = config.network
    first = dataclasses.replace(
        network, multipliers=network.multipliers[:1], blocks=1, attention=()
    )
    probe = dataclasses.replace(config, network=first)
    side = -(-PROBE // network.patch) * network.patch
    function, inputs = _evaluation(probe, (side, side))
    shapes = _shapes(probe, (side, side))[1]
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    devices = jax.local_devices()
    mapped = parallel.shared_out(lambda p, given: function(p, *given), devices)
    given = parallel.shard(inputs(len(devices)), len(devices))
    call = functools.partial(mapped, parallel.replicate(weights, devices), (given,))
    work = flops(lowered(jax.jit(function), shapes, *inputs(1)))
    return work * len(devices) / race({"level": call}, repeats=5)["level"]


class Measured(NamedTuple):
    """The cost of a compiled training step."""

    compilation: float  # seconds
    step: float  # seconds, the shortest of a few, because others may have been disturbed
    device_bytes: int  # memory of one device, by XLA's own layout of the arrays


def measure(update: Any, state: Any, *arguments: Any) -> Measured:
    """Compile `update(state, *arguments)`, a pmapped training step, and run it a few times."""
    then = time.perf_counter()
    layout = update.lower(state, *arguments).compile().memory_analysis()
    compilation, shortest = time.perf_counter() - then, math.inf
    needed = layout.argument_size_in_bytes + layout.output_size_in_bytes
    needed += layout.temp_size_in_bytes - layout.alias_size_in_bytes
    for number in range(1 + STEPS):
        then = time.perf_counter()
        state, metrics = update(state, *arguments)
        jax.block_until_ready((state, metrics))
        if number:
            shortest = min(shortest, time.perf_counter() - then)
    return Measured(compilation, shortest, needed)


def bytes_of(tree: Any) -> int:
    """Bytes of a tree of arrays or shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def duration(seconds: float) -> str:
    """Rounded to one unit, such as "40 s", "12 min", "7 h" or "3 days"."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s"


def in_bytes(count: float) -> str:
    """Such as "58 MB" or "1.3 GB"."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
