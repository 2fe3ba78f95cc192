import itertools
import re
from operator import attrgetter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VESDE, VPSDE
from sde_ct.config import (
    FAST_SAMPLERS,
    SAMPLER_NAMES,
    AdversarialConfig,
    DataConfig,
    DiffusionConfig,
    Experiment,
    NetworkConfig,
    SamplingConfig,
    SDEConfig,
    TrainingConfig,
)
from sde_ct.errors import InputError
from sde_ct.evaluation.table import DIRECT, DISTILLED, DRAWN
from sde_ct.methods import build_method, build_sampled, build_sde
from sde_ct.methods.diffusion import sample_time
from sde_ct.methods.samplers import MEAN, SAMPLERS, TABLE, sampler_fn, with_evaluations
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import fold, sample_keys, slice_keys
from sde_ct.training.state import example_keys, initialised
from sde_ct.types import Batch

NETWORK = NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2)
SAMPLING = SamplingConfig(
    ddpm_steps=4, em_steps=4, pc_steps=3, ode_rtol=0.1, ode_atol=0.1, fast_evaluations=5
)
DOCS = Path(__file__).resolve().parents[2] / "docs"
WITH_BUDGET = [row for row in TABLE if row.budget]  # all but adaptive samplers


def experiment(method: str, kind: str = "vp") -> Experiment:
    return Experiment(
        method=method,
        sde=SDEConfig(kind=kind),
        network=NETWORK,
        adversarial=AdversarialConfig(channels=8),
        data=DataConfig(batch_size=4),
        training=TrainingConfig(steps=60, learning_rate=3e-3, warmup=3, clip=1.0, ema=0.9),
        sampling=SAMPLING,
    )


@pytest.fixture(scope="module")
def batch() -> Batch:
    mr = jax.random.uniform(jax.random.key(5), (4, 8, 8, 1), minval=-1.0)
    return Batch(mr, -0.5 * mr, jnp.ones_like(mr))


def begin(learner, batch: Batch):
    return initialised(lambda: learner.init(jax.random.key(0), batch))


@pytest.mark.parametrize("method", ["diffusion", "cnn", "gan"])
def test_one_batch_can_be_learnt(method, batch):
    config = experiment(method)
    learner = build_method(config)
    update = parallel.seldom(learner.update)
    state = begin(learner, batch)
    loss = parallel.seldom(learner.loss)
    keys = example_keys(1, 0, 4)
    before = loss(state, keys, batch)["loss"]
    for step in range(60):
        state, metrics = update(state, example_keys(0, step, 4), batch)
    after = loss(state, keys, batch)["loss"]
    assert after < 0.5 * before and jnp.isfinite(metrics["gradient_norm"])
    learnt = state.generator if method == "gan" else state
    assert int(learnt.step) == 60


SLOW = [
    pytest.param(method, marks=pytest.mark.slow)
    for method in ("residual", "joint", "distilled", "gan")
]


@pytest.mark.parametrize("method", ["diffusion", *SLOW])
def test_step_is_the_same_on_one_and_four_devices(method, batch):
    config = experiment(method)
    learner = build_method(config, parallel.AXIS)
    fresh = begin(build_method(config), batch)
    results = []
    for count in (1, 4):
        update = parallel.data_parallel(learner.update, jax.devices()[:count])
        state = jax.tree.map(jnp.copy, fresh)
        for step in range(3):
            keys = parallel.shard(example_keys(0, step, 4), count)
            state, _ = update(state, keys, parallel.shard(batch, count))
        assert parallel.replicas_agree(state)
        results.append(jax.device_get(state))
    # Means in another order: float32 rounding, which Adam's division raises for tiny gradients.
    # Three steps move parameters by up to 4e-3.
    for one, four in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, four, atol=2e-4)


@pytest.mark.parametrize("method", ["diffusion", "residual", "joint", "distilled", "gan"])
def test_an_update_that_is_not_finite_changes_nothing(method, batch):
    """One bad pixel on one of two devices: both skip it, in the one collective of a step."""
    learner, count = build_method(experiment(method), parallel.AXIS), 2
    devices = jax.devices()[:count]
    update = parallel.data_parallel(learner.update, devices)
    state = begin(build_method(experiment(method)), batch)
    keys = parallel.shard(example_keys(0, 0, 4), count)

    def step(state, batch):
        state = parallel.replicate(jax.tree.map(jnp.copy, state), devices)
        after, metrics = update(state, keys, parallel.shard(batch, count))
        assert parallel.replicas_agree(after)
        return jax.device_get((after, metrics))

    begun = jax.device_get(state)
    after, metrics = step(begun, batch)
    assert metrics["skipped"] == 0 and np.isfinite(list(metrics.values())).all()
    for bad in (np.nan, np.inf):
        spoilt = batch._replace(mr=batch.mr.at[3, 2, 2].set(bad))
        again, metrics = step(after, spoilt)
        assert metrics["skipped"] == 1 and not np.isfinite(metrics["gradient_norm"])
        for one, other in zip(*map(jax.tree.leaves, (again, after)), strict=True):
            np.testing.assert_array_equal(one, other)
    shapes = parallel.replicate(begun, devices), keys, parallel.shard(batch, count)
    text = update.lower(*shapes).compile().as_text()
    assert len(re.findall(r"= \S+ all-reduce(?:-start)?\(", text)) == 1


def test_replicas_agree_sees_a_forgotten_mean(batch):
    config = experiment("cnn")
    wrong = build_method(config)  # no axis name: nothing is averaged
    update = parallel.data_parallel(wrong.update, jax.devices()[:4])
    state = begin(wrong, batch)
    state, _ = update(state, parallel.shard(example_keys(0, 0, 4), 4), parallel.shard(batch, 4))
    state, _ = update(state, parallel.shard(example_keys(0, 1, 4), 4), parallel.shard(batch, 4))
    assert not parallel.replicas_agree(state)


@pytest.mark.parametrize(
    ("sampler", "kind"), zip(SAMPLERS, itertools.cycle(["vp", "vp", "ve", "ve"]), strict=False)
)
def test_every_sampler_draws_from_a_network(sampler, kind, batch):
    config = experiment("diffusion", kind)
    method = build_method(config, sampler=sampler)
    assert method.is_random
    params = begin(method, batch).params
    draw = jax.jit(method.draw)
    keys = slice_keys(0, 7, jnp.arange(4), jnp.zeros(4, jnp.int32))
    samples = draw(params, keys, batch.mr[:, None])
    assert samples.x.shape == (4, 1, 8, 8, 1) and bool(samples.ok.all())
    # The key belongs to the slice, not to its place in the batch.
    turned = draw(params, keys[::-1], batch.mr[::-1, None])
    np.testing.assert_allclose(turned.x[::-1], samples.x, atol=1e-4)
    settings = sampler_fn(sampler, config, build_sde(config)).keywords
    if "steps" in settings:  # no adaptive sampler
        evaluations = settings["steps"] * SAMPLERS[sampler].stages(SAMPLING)
        np.testing.assert_array_equal(samples.nfe, evaluations + settings.get("denoise", False))


def test_the_rows_of_tables_are_labels_of_samplers():
    assert set(DRAWN) - {DIRECT, DISTILLED} <= {sampler.label for sampler in SAMPLERS.values()}


def test_names_of_samplers_are_those_of_the_help_and_of_files():
    assert tuple(sampler.name for sampler in TABLE) == SAMPLER_NAMES
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in SAMPLER_NAMES)
    assert MEAN not in SAMPLER_NAMES
    assert len({sampler.label for sampler in TABLE}) == len(TABLE)
    fast = {row.name for row in WITH_BUDGET if "fast_evaluations" in row.budget(SAMPLING, 20)}
    assert fast == {*FAST_SAMPLERS}


@pytest.mark.parametrize("name", SAMPLER_NAMES)
@pytest.mark.parametrize("page", ["samplers", "synthesis"])
def test_every_sampler_is_in_the_documentation(name, page):
    assert f"`{name}`" in (DOCS / f"{page}.md").read_text()


@pytest.mark.parametrize("row", WITH_BUDGET, ids=attrgetter("name"))
@pytest.mark.parametrize("further", [0, 5])
def test_a_sampler_keeps_to_its_evaluations(row, further):
    """Counted by the sampler itself: as many as fit, where a step takes several."""
    sde = VPSDE()
    evaluations = row.least(SAMPLING, sde) + further
    options = with_evaluations(SAMPLING, row.name, evaluations, sde)
    run = sampler_fn(row.name, Experiment(sampling=options), sde)
    samples = jax.jit(lambda: run(jax.random.key(0), sde, lambda x, t: -x, (1, 2)))()
    assert evaluations - row.stages(options) < samples.nfe <= evaluations


@pytest.mark.parametrize("sde", [VPSDE(), VESDE()], ids=["vp", "ve"])
@pytest.mark.parametrize("name", FAST_SAMPLERS)
def test_the_fewest_evaluations_of_a_fast_solver_are_stable(name, sde):
    """Data of unit scale and others: draws have at most twice their standard deviation.

    Of 4000 draws it is known to 1.1 %, and the margin is 5 %. The next three numbers of steps must
    be stable too, because an unstable solver may be right by chance.
    """
    widths = jnp.array([0.1, 0.3, 1.0, 2.0])
    sampler = SAMPLERS[name]

    def score(x, t):
        alpha, std = (value[:, None] for value in sde.marginal(t))
        return -x / ((alpha * widths) ** 2 + std**2)

    for steps in range(4):
        evaluations = sampler.least(SAMPLING, sde) + steps * sampler.stages(SAMPLING)
        options = with_evaluations(SamplingConfig(), name, evaluations, sde)
        run = sampler_fn(name, Experiment(sampling=options), sde)
        draws = jax.jit(lambda key, run=run: run(key, sde, score, (4000, 4)))(jax.random.key(0)).x
        assert (1.05 * draws.std(0) <= 2 * widths).all(), evaluations


def test_a_network_of_few_noise_levels_is_trained_and_sampled_there(batch):
    """Fast-DDPM: every evaluation, in training too, is at one of the listed times."""
    config = experiment("diffusion")
    config.diffusion = DiffusionConfig(times="listed", listed=(0, 499, 999))
    keys = jax.random.split(jax.random.key(0), 200)
    trained = jax.vmap(lambda key: sample_time(key, VPSDE(), config.diffusion))(keys)
    np.testing.assert_allclose(np.unique(trained), [0.001, 0.5, 1.0], rtol=1e-6)
    asked = []

    def score(x, t):
        jax.debug.callback(lambda t: asked.append(float(t)), t[0])
        return -x

    run = sampler_fn("ddpm", config, VPSDE())
    samples = jax.jit(lambda key: run(key, VPSDE(), score, (2, 3)))(jax.random.key(0))
    jax.effects_barrier()
    np.testing.assert_allclose(asked, [1.0, 0.5, 0.001], rtol=1e-6)
    assert int(samples.nfe[0]) == 3
    with pytest.raises(InputError, match=r"3 noise levels only.*ddpm, not 'em'"):
        sampler_fn("em", config, VPSDE())


@pytest.mark.parametrize("denoise", [True, False])
def test_the_ode_ends_as_the_recipe_says(denoise):
    """For data N(0, s²) its path is x ~ √(s² + σ²), and E[x(0) | x] = x s² / (s² + σ²).

    Within the solver's tolerance of 1e-4, summed over some twenty steps.
    """
    sde, variance, level = VESDE(sigma_max=10.0), 0.2**2, 0.1
    options = SamplingConfig(ode_rtol=1e-4, ode_atol=1e-4, ode_denoise=denoise, fast_end=level)
    run = sampler_fn("ode", Experiment(sampling=options), sde)
    key, shape = jax.random.key(0), (2, 9)

    def total(t):
        return variance + sde.noise_ratio(t) ** 2

    samples = jax.jit(lambda key: run(key, sde, lambda x, t: -x / total(t)[:, None], shape))(key)
    start = sde.prior(fold(sample_keys(key, 2), 0), shape)
    left = variance / np.sqrt(variance + level**2) if denoise else np.sqrt(total(1e-3))
    np.testing.assert_allclose(samples.x, start * left / np.sqrt(total(1.0)), atol=1e-3)
    # Every step asks six times, the first stage once, the denoised estimate once more.
    assert set(np.asarray(samples.nfe) % 6) == {2 if denoise else 1}


@pytest.mark.parametrize(
    ("sampler", "evaluations", "least"),
    [
        ("ode", 9, "adaptive"),
        ("dpm", 1, "needs 2 or more"),
        # With 12 data of twice the standard deviation are drawn 2.3 times too wide with VPSDE().
        ("heun", 12, "needs 13 or more"),
        # A step takes out g² dt of the noise: 2 ln(50 / 0.01) = 17.03 times std² dt for most t.
        # With t = dt it is 17.03 / (1 - exp(-17.03 dt)), which is 2 / dt for dt = 1 / 10.7.
        ("em", 10, "needs 11 or more"),
        ("pc", 21, "needs 22 or more"),
    ],
)
def test_too_few_evaluations_are_refused(sampler, evaluations, least):
    with pytest.raises(InputError, match=least):
        with_evaluations(SAMPLING, sampler, evaluations, VESDE())


def test_a_recipe_with_too_few_steps_is_refused_by_its_field():
    config = experiment("diffusion", "ve")
    with pytest.raises(InputError, match=r"sampling.pc_steps=3 .* 11 or more, .*=22 or more"):
        build_sampled(config, sampler="pc")
    assert build_sampled(config, sampler="ddpm").is_random


def test_the_fast_solvers_end_within_what_was_trained():
    """At fast_end = 0.01 times the data's standard deviation, but not below the least time."""
    config = Experiment()
    run = sampler_fn("dpm", config, VPSDE(), data_std=0.33)
    grid = run.keywords["grid"]
    assert float(VPSDE().noise_ratio(grid(VPSDE(), 9)[-1])) == pytest.approx(0.0033, rel=0.01)
    config.diffusion.time_min = 1e-3
    run = sampler_fn("dpm", config, VPSDE(), data_std=0.33)
    assert float(run.keywords["grid"](VPSDE(), 9)[-1]) == pytest.approx(1e-3)


def test_methods_without_chance_have_no_sampler(batch):
    config = experiment("cnn")
    method = build_method(config)
    assert not method.is_random
    samples = jax.jit(method.draw)(begin(method, batch).params, None, batch.mr[:, None])
    np.testing.assert_array_equal(samples.nfe, 1)
    with pytest.raises(InputError, match="no sampler"):
        build_method(config, sampler="em")
    with pytest.raises(InputError, match=r"'milstein'.*ddpm, em, pc, ode"):
        build_method(experiment("diffusion"), sampler="milstein")
