"""What training or synthesis would take here, from the traced program and a short measurement.

Nothing of the network's size is compiled. FLOPs are what XLA counts in one evaluation as traced;
training takes three evaluations' (forward, and the gradients by activations and by weights).
Seconds divide them by the rate at which the first level of that network runs here. Bytes are those
of the arrays: what the backward pass keeps, as `jax.vjp` tells it, and the training state; XLA
shares and fuses some of them, so they are an upper estimate. For a training step of the demo's
DDPM: 4.1 GFLOP and 58 MB, where XLA counts 4.5 GFLOP and 52 MB once it is compiled. Of synthesis
the arrays that are needed at once are counted, to which XLA adds room to work in: 6 MB for ten
slices of that network, where XLA takes 11.
"""

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable
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
from sde_ct.synthesis.synthesizer import BATCH
from sde_ct.training.state import fresh_state

PROBE = 32  # side of the slices, in pixels, that are timed
TRAINING = 3  # evaluations' worth of FLOPs in a training step
GB = 1e9


class Cost(NamedTuple):
    """Of one network on slices of one size."""

    parameters: int
    evaluation_flops: float  # a slice
    rate: float  # FLOP/s measured here, all devices together
    state_bytes: float  # parameters, moving average, optimiser and gradients
    kept_bytes: float  # a slice, for the backward pass
    parameter_bytes: float
    live_bytes: float  # a slice, at once in an evaluation

    @property
    def seconds(self) -> float:
        """Of one evaluation of one slice."""
        return self.evaluation_flops / self.rate

    def training(self, config: Experiment) -> str:
        steps, batch = config.training.steps, config.data.batch_size
        seconds = TRAINING * self.seconds * batch * steps
        memory = self.state_bytes + batch * self.kept_bytes
        return (
            f"about {duration(seconds)} for {steps} steps of {batch} slices, at most "
            f"{memory / GB:.1f} GB over all devices"
        )

    def synthesis(self, slices: int, evaluations: int, draws: int) -> str:
        seconds = self.seconds * slices * evaluations * draws
        what = f"{slices} slices, {evaluations} evaluations, {draws} draws"
        memory = (self.parameter_bytes + BATCH * self.live_bytes) / GB
        return f"about {duration(seconds)} for {what}, at least {memory:.1f} GB a device"


def estimate(config: Experiment, size: tuple[int, int]) -> Cost:
    """The cost of a configuration on slices of `size` (h, w), which is padded to fit."""
    multiple = build_network(config).multiple
    height, width = (-(-n // multiple) * multiple for n in size)
    size = (height, width)
    state = jax.eval_shape(lambda: fresh_state(build_method(config), config, size))
    parameters = _parameters(config, size)
    function, inputs = _evaluation(config, size)
    kept = jax.eval_shape(lambda p: jax.vjp(lambda q: function(q, *inputs(1)), p)[1], parameters)
    own = _bytes(parameters)
    return Cost(
        parameters=sum(x.size for x in jax.tree.leaves(parameters)),
        evaluation_flops=flops(lowered(jax.jit(function), parameters, *inputs(1))),
        rate=_rate(config),
        state_bytes=_bytes(state) + own,
        kept_bytes=max(0.0, _bytes(kept) - own),
        parameter_bytes=own,
        live_bytes=_live(function, parameters, *inputs(1)) - own,
    )


def duration(seconds: float) -> str:
    """As people say it: "40 s", "12 min", "7 h", "3 days"."""
    for unit, length, least in (("days", 86400, 2), ("h", 3600, 2), ("min", 60, 2)):
        if seconds >= least * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s"


def _evaluation(config: Experiment, size: tuple[int, int]) -> Any:
    """One network evaluation, f(parameters, *inputs(batch)): a draw of a single DDPM step."""
    one = dataclasses.replace(config.sampling, ddpm_steps=1)
    draw = build_method(dataclasses.replace(config, sampling=one)).draw

    def inputs(batch: int) -> tuple[Any, Any]:
        mr = jnp.zeros((batch, *size, 1 + 2 * config.data.neighbours))
        return jax.random.split(seed_key(0), batch), mr

    return lambda params, *given: draw(params, *given).x, inputs


def _parameters(config: Experiment, size: tuple[int, int]) -> Any:
    method = build_method(config)
    return jax.eval_shape(lambda: method.weights(fresh_state(method, config, size)))


def _rate(config: Experiment) -> float:
    """FLOP/s of the network's first level, one slice a device, medians of five calls."""
    network = config.network
    first = dataclasses.replace(
        network, multipliers=network.multipliers[:1], blocks=1, attention=()
    )
    probe = dataclasses.replace(config, network=first)
    side = -(-PROBE // network.patch) * network.patch
    function, inputs = _evaluation(probe, (side, side))
    shapes = _parameters(probe, (side, side))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)
    devices = jax.local_devices()
    mapped = parallel.shared_out(lambda p, given: function(p, *given), devices)
    given = parallel.shard(inputs(len(devices)), len(devices))
    arguments = parallel.replicate(params, devices), (given,)
    work = flops(lowered(jax.jit(function), shapes, *inputs(1)))
    call = functools.partial(mapped, *arguments)
    return work * len(devices) / race({"level": call}, repeats=5)["level"]


def _live(function: Callable, *arguments: Any) -> float:
    """Bytes of the arrays of a traced program that are needed at once, at most."""
    return _most_live(jax.make_jaxpr(function)(*arguments).jaxpr)


def _most_live(program: Any) -> float:
    last = dict.fromkeys((v for v in program.outvars if not _is_literal(v)), len(program.eqns))
    for number, step in reversed(list(enumerate(program.eqns))):
        for v in step.invars:
            if not _is_literal(v):
                last.setdefault(v, number)
    ends: dict[int, list[Any]] = defaultdict(list)
    for v, number in last.items():
        ends[number].append(v)
    live = most = float(sum(_size(v.aval) for v in (*program.invars, *program.constvars)))
    for number, step in enumerate(program.eqns):
        live += sum(_size(v.aval) for v in step.outvars)
        inner = [value.jaxpr for value in step.params.values() if hasattr(value, "jaxpr")]
        own = sum(_size(v.aval) for v in (*step.invars, *step.outvars))
        most = max([most, live, *(live - own + _most_live(body) for body in inner)])
        live -= sum(_size(v.aval) for v in ends[number])
    return most


def _is_literal(v: Any) -> bool:
    return hasattr(v, "val")


def _size(shape: Any) -> int:
    return shape.size * shape.dtype.itemsize


def _bytes(tree: Any) -> float:
    return float(sum(map(_size, jax.tree.leaves(tree))))
