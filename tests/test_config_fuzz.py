"""Configurations at random: valid ones take a step, invalid ones are refused by name."""

import functools
import math
import re
import typing

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sde_ct.config import Experiment, validate
from sde_ct.config_record import flatten
from sde_ct.data.through_plane import factor
from sde_ct.errors import InputError
from sde_ct.methods import build_method, build_network
from sde_ct.runtime import parallel
from sde_ct.training.state import example_keys, fresh_state
from sde_ct.types import Batch

FIELDS = flatten(Experiment())
# Without shrinking: an example traces a network.
EXAMPLES = functools.partial(
    settings, deadline=None, derandomize=True, database=None,
    phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip


def with_fields(values: dict) -> Experiment:
    config = Experiment()
    for name, value in values.items():
        *path, last = name.split(".")
        setattr(functools.reduce(getattr, path, config), last, value)
    return config


def section_of(name: str) -> tuple[type, str]:
    *path, last = name.split(".")
    return type(functools.reduce(getattr, path, Experiment())), last


def hint_of(name: str):
    kind, last = section_of(name)
    return typing.get_type_hints(kind)[last]


def constraints_of(name: str):
    kind, last = section_of(name)
    return kind.__dataclass_fields__[last].metadata


CHOICES = {name: c["choices"] for name in FIELDS if "choices" in (c := constraints_of(name))}


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
    st.binary(max_size=2), st.lists(st.integers(), max_size=3).map(tuple),
    st.lists(st.floats(), max_size=2).map(tuple),
)  # fmt: skip


def wrong(name: str) -> st.SearchStrategy:
    """Values that no configuration may hold in this field, of its own type and of others."""
    hint = hint_of(name)
    if name in CHOICES:
        return anything.filter(lambda value: value not in CHOICES[name])
    if hint == tuple[int, ...]:
        lists = st.lists(st.floats(), min_size=1, max_size=3).map(tuple)
        return st.one_of(lists, anything.filter(lambda value: not isinstance(value, tuple)))
    other = anything.filter(lambda value: type(value) is not hint)
    if hint is float:
        other = other.filter(lambda value: type(value) is not int)
        bad = [st.sampled_from([math.nan, math.inf, -math.inf, 1e300])]
    else:
        bad = [st.integers(min_value=2**31)] if hint is int else []
    if {"least", "over"} & (constraints := constraints_of(name)).keys():
        sizes = st.integers(1, 10**6) if hint is int else st.floats(1e-6, 1e6)
        bad.append(sizes.map(lambda value: -value))
        if "over" in constraints:
            bad.append(st.just(hint(0)))
    return st.one_of(other, *bad)


@EXAMPLES(max_examples=300)
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_an_invalid_field_is_refused_by_its_name(name, data):
    config = with_fields({name: data.draw(wrong(name))})
    with pytest.raises(InputError, match=rf"config\.{re.escape(name)}\b"):
        validate(config)


@EXAMPLES(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), anything, max_size=4))
def test_anything_is_valid_or_refused_by_a_name(values):
    try:
        validate(with_fields(values))
    except InputError as error:
        assert any(f"config.{name}" in str(error) for name in values)


# Heads of 64 channels do not divide 200.
WIDE = {"network.channels": 200, "network.multipliers": (1,), "network.attention": (0,)}


def floats(low: float, high: float) -> st.SearchStrategy:
    return st.floats(low, high).map(lambda value: round(value, 6))


def pairs(low, high) -> st.SearchStrategy:
    return st.tuples(low, high).filter(lambda pair: pair[0] < pair[1])


@st.composite
def tiny_networks(draw, widest: int):
    levels = draw(st.integers(1, 2))
    return {
        "network.channels": draw(st.integers(1, widest)),
        "network.multipliers": tuple(draw(st.integers(1, 3)) for _ in range(levels)),
        "network.blocks": draw(st.integers(1, 2)),
        "network.attention": tuple(draw(st.sets(st.integers(0, levels - 1)))),
        "network.patch": draw(st.integers(1, 3)),
        "network.groups": draw(st.integers(1, 40)),
        "network.noise_scale": draw(st.floats(0.1, 30)),
        "network.dtype": draw(st.sampled_from(CHOICES["network.dtype"])),
        "network.remat": draw(st.booleans()),
        "adversarial.channels": draw(st.integers(1, 8)),
    }


@st.composite
def valid(draw, networks):
    """A configuration with every field of the training's way drawn."""
    values = draw(networks)
    for name in CHOICES.keys() - values.keys():
        values[name] = draw(st.sampled_from(CHOICES[name]))
    beta = draw(pairs(floats(0.01, 1.0), floats(0.5, 50.0)))
    sigma = draw(pairs(floats(1e-3, 1.0), floats(0.5, 100.0)))
    hu = draw(pairs(floats(-2000, 100), floats(0, 4000)))
    steps = draw(st.integers(1, 2000))
    inner = draw(st.sets(st.integers(0, steps - 1), max_size=5))
    values |= {
        "sde.beta_min": beta[0], "sde.beta_max": beta[1],
        "sde.sigma_min": sigma[0], "sde.sigma_max": sigma[1],
        "data.hu_low": hu[0], "data.hu_high": hu[1],
        "diffusion.steps": steps, "diffusion.listed": tuple(sorted(inner | {steps - 1})),
        "diffusion.log_mean": draw(floats(-3, 3)), "diffusion.log_std": draw(floats(0.1, 3)),
        "diffusion.time_min": draw(floats(1e-5, 0.5)),
        "data.batch_size": draw(st.integers(1, 2)), "data.neighbours": draw(st.integers(0, 2)),
        "data.ct_mean": draw(floats(-1, 1)), "data.ct_std": draw(floats(0.1, 1)),
        "training.learning_rate": draw(floats(1e-6, 1.0)),
        "training.clip": draw(floats(0, 2)), "training.ema": draw(floats(0, 0.9999)),
        "training.decay": draw(st.booleans()), "training.warmup": draw(st.integers(0, 49)),
        "training.steps": draw(st.integers(50, 2**31 - 1)),
        "training.seed": draw(st.integers(0, 2**31 - 1)),
        "adversarial.l1_weight": draw(floats(0, 100)),
        "data.deform": draw(floats(0, 1.9)),
        "residual.denoiser_share": draw(floats(0.1, 0.9)),
    }  # fmt: skip
    if values["method"] in ("residual", "joint"):
        values["sampling.clip_denoised"] = False
    if values["method"] == "joint":
        values |= {"data.slab": 2, "sampling.correlated_noise": True}
    return validate(with_fields(values))


def arguments(config: Experiment):
    """Keys and a batch of the smallest slices that the network takes."""
    side, b = 2 * build_network(config).multiple, config.data.batch_size
    rng = np.random.default_rng(0)
    shapes = (1 + 2 * config.data.neighbours, 1, 1)
    n, slab = config.data.slices, config.data.slab
    images = [rng.uniform(-1, 1, (n, side, side, c)).astype(np.float32) for c in shapes]
    noise = None if slab == 1 else np.stack(b * [factor([9.0] * 5, 3.0, slab)])
    return (side, side), example_keys(config.training.seed, 0, b), Batch(*images, noise)


def builds(config: Experiment) -> None:
    """Traced, not computed: networks of any width, in the time of one of eight channels."""
    method, (size, keys, batch) = build_method(config), arguments(config)
    state = jax.eval_shape(lambda: fresh_state(method, config, size))
    after, metrics = jax.eval_shape(method.update, state, keys, batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )
    assert {"loss", "gradient_norm", "skipped", "learning_rate"} <= set(metrics)


@EXAMPLES(max_examples=1)
@given(valid(tiny_networks(300)))
def test_what_is_valid_builds(config):
    builds(config)


@pytest.mark.slow
@EXAMPLES(max_examples=60)
@given(valid(tiny_networks(300)))
@example(with_fields(WIDE))
def test_much_that_is_valid_builds(config):
    builds(config)


@pytest.mark.slow
@EXAMPLES(max_examples=30)
@given(valid(tiny_networks(12)))
def test_what_is_valid_takes_a_step(config):
    method, (size, keys, batch) = build_method(config), arguments(config)

    def step(keys, batch):
        state = fresh_state(method, config, size)
        return state, *method.update(state, keys, batch)

    before, after, metrics = jax.device_get(parallel.seldom(step)(keys, batch))
    assert metrics["skipped"] == 0 and all(map(np.isfinite, metrics.values()))
    for one, other in zip(*map(jax.tree.leaves, (before, after)), strict=True):
        assert np.isfinite(other).all() and one.shape == other.shape
    trained = after.along_z if config.method == "joint" else after
    trained = after.generator if config.method in ("gan", "distilled") else trained
    assert int(trained.step) == 1
