"""What training or synthesis costs on this machine, in seconds and bytes.

`estimate` traces the network without compiling it. FLOPs are those that XLA counts in one
evaluation; a training step takes three times as many (the forward pass, and the gradients with
respect to activations and weights). Seconds are the FLOPs divided by the rate measured here for the
network's first level. Bytes are an upper estimate, because XLA shares and fuses some of the arrays
that the backward pass keeps. The estimate for a training step of the demo's DDPM is 3.7 GFLOP and
57 MB; the step that XLA compiles for one CPU core takes 4.0 GFLOP and 39 MB.

`measure` compiles a training step and runs it a few times.
"""

import dataclasses
import functools
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
STEPS = 3  # measured steps, after a first step that does not count


class Cost(NamedTuple):
    """The estimate for one network on slices of one size."""

    parameters: int  # for synthesis, of all networks
    evaluations: int  # in a draw with one step of the sampler
    evaluation_flops: float  # of one evaluation, per slice
    rate: float  # FLOP/s measured here, all devices together
    state_bytes: float  # the training state, and the gradients of one network
    kept_bytes: float  # per slice, for the backward pass

    def training_bytes(self, slices: int) -> float:
        """Memory of one device in a training step on this number of slices."""
        return self.state_bytes + slices * self.kept_bytes

    def training(self, config: Experiment) -> str:
        steps, batch = config.training.steps, config.data.slices
        seconds = TRAINING * steps * batch * self.evaluation_flops / self.rate
        devices = len(parallel.devices_for(config.data.batch_size))
        memory = devices * self.state_bytes + batch * self.kept_bytes  # each holds the whole state
        return (
            f"about {duration(seconds)} for {steps} steps of {batch} slices, at most "
            f"{in_bytes(memory)} over all devices"
        )

    def synthesis(self, slices: int, evaluations: float, draws: int) -> str:
        seconds = slices * evaluations * draws * self.evaluation_flops / self.rate
        what = f"{slices} slices, {evaluations:g} evaluations, {draws} draws"
        return f"about {duration(seconds)} for {what}"


def estimate(config: Experiment, size: tuple[int, int]) -> Cost:
    """The cost of a configuration on slices of `size` (h, w), which is padded to fit."""
    multiple = build_network(config).multiple
    height, width = (-(-n // multiple) * multiple for n in size)
    state, weights = _shapes(config, (height, width))
    function, inputs = _evaluation(config, (height, width))
    kept = jax.eval_shape(
        lambda p: jax.vjp(lambda q: function(q, *inputs(1)), p, has_aux=True)[1], weights
    )
    rate, evaluations = _rate(config)
    own = bytes_of(weights)
    return Cost(
        parameters=sum(x.size for x in jax.tree.leaves(weights)),
        evaluations=evaluations,
        evaluation_flops=flops(lowered(jax.jit(function), weights, *inputs(1))) / evaluations,
        rate=rate,
        state_bytes=bytes_of(state) + own / evaluations,
        kept_bytes=max(0, bytes_of(kept) - own) / evaluations,
    )


def _shapes(config: Experiment, size: tuple[int, int]) -> tuple[Any, Any]:
    """Training state and sampling weights as shapes."""
    method = build_method(config)
    state = jax.eval_shape(lambda: fresh_state(method, config, size))
    return state, jax.eval_shape(method.weights, state)


def _evaluation(config: Experiment, size: tuple[int, int]) -> Any:
    """`f` and `inputs`; f(weights, *inputs(batch)) makes a draw by one DDPM step and counts it."""
    one = dataclasses.replace(config.sampling, ddpm_steps=1)
    free = dataclasses.replace(config.diffusion, times="uniform")  # listed times fix the steps
    draw = build_method(dataclasses.replace(config, sampling=one, diffusion=free)).draw

    def inputs(batch: int) -> tuple[Any, Any]:
        mr = jnp.zeros((batch, 1, *size, config.data.channels))
        return jax.random.split(seed_key(0), batch), mr

    return lambda weights, *given: draw(weights, *given)[:2], inputs


def _rate(config: Experiment) -> tuple[float, int]:
    """The FLOP/s of the network's first level, and the evaluations of a draw with one step.

    The rate is the median of five calls with one slice per device.
    """
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
    evaluations = int(np.max(jax.device_get(call())[1]))
    return work * len(devices) / race({"level": call}, repeats=5)["level"], evaluations


class Measured(NamedTuple):
    """The cost of a compiled training step."""

    compilation: float  # seconds
    step: float  # seconds, the mean of a first and a last step of the training
    device_bytes: int  # memory of one device, by XLA's own layout of the arrays


def measure(update: Any, state: Any, *arguments: Any, steps: int) -> Measured:
    """Compile `update(state, *arguments)`, a pmapped training step, and run it a few times.

    It runs as the first of the `steps` steps of a training. Then, with the counters in the state
    changed, it runs as the last step, which costs more where another network is trained at the end.
    """
    then = time.perf_counter()
    layout = update.lower(state, *arguments).compile().memory_analysis()
    compilation = time.perf_counter() - then
    needed = layout.argument_size_in_bytes + layout.output_size_in_bytes
    needed += layout.temp_size_in_bytes - layout.alias_size_in_bytes
    first, state = _seconds(update, state, arguments)
    late = jax.tree.map(lambda x: x * 0 + steps - 1 if x.dtype == jnp.int32 else x, state)
    last, _ = _seconds(update, late, arguments)
    return Measured(compilation, (first + last) / 2, needed)


def _seconds(update: Any, state: Any, arguments: Any) -> tuple[float, Any]:
    """The seconds of the shortest of `STEPS` steps after a first one, and the last state."""
    seconds = []
    for _ in range(1 + STEPS):
        then = time.perf_counter()
        state, metrics = update(state, *arguments)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - then)
    return min(seconds[1:]), state


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
