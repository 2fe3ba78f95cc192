"""A regression, and a diffusion of what it leaves open."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VESDE, VPSDE
from sde_ct.config import DataConfig, Experiment, NetworkConfig, SamplingConfig, TrainingConfig
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.methods.decomposition import Params
from sde_ct.methods.residual import residual
from sde_ct.methods.residual_plan import Plan
from sde_ct.methods.samplers import MEAN, SAMPLERS, with_evaluations
from sde_ct.methods.slices import evaluator
from sde_ct.methods.validated_scale import scale_of_draws
from sde_ct.models import UNet
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys
from sde_ct.training.validation import comparer
from sde_ct.types import Batch

from ..optimised import optimised

CONFIG = Experiment(
    method="residual",
    network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
    data=DataConfig(batch_size=4),
    training=TrainingConfig(steps=24, learning_rate=3e-3, clip=1.0, ema=0.9),
)
CONFIG.residual.denoiser_share = 0.25

A, CORRELATION = 0.4, 0.6  # of the closed form


class Exact:
    """In place of the network: the exact regression and score of jointly Gaussian images.

    Of two pixels, CT = A·MR + r, with r ~ N(0, C) of unit variance. With ρ = σ/α and u = x/α =
    r + ρ z, the denoised residual is D = C (C + ρ²)⁻¹ u, and F = (D - c_skip u)/c_out.
    """

    @property
    def forward(self):
        return self

    def apply(self, params, inputs, label):
        seen, mr = inputs[..., :1], inputs[..., 2:]
        rho = jnp.exp(4 * label)[:, None, None, None]
        u = seen * jnp.sqrt(1 + rho**2)  # the form divides by √(α² + σ²)
        # C's eigenvectors are the sum and the difference of the two pixels.
        both, apart = (u + u[:, :, ::-1]) / 2, (u - u[:, :, ::-1]) / 2
        d = sum(
            part * c / (c + rho**2)
            for part, c in ((both, 1 + CORRELATION), (apart, 1 - CORRELATION))
        )
        f = (d - u / (1 + rho**2)) * jnp.sqrt(1 + rho**2) / rho
        return jnp.where(jnp.all(inputs[..., :2] == 0), A * mr, f)


STEPS = SamplingConfig(
    ddpm_steps=500, em_steps=500, pc_steps=500, snr=0.03, ode_rtol=1e-4, ode_atol=1e-4,
    fast_evaluations=200, fast_end=0.003,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"), zip(SAMPLERS, itertools.cycle(["vp", "ve"]), strict=False)
)
def test_all_samplers_draw_the_joint_law_of_gaussian_images(name, kind):
    """Mean and covariance of 32768 draws within 2 % of the residual's standard deviation.

    Sampling errors are 0.6 % for the mean and 0.4 % for the standard deviation, and each sampler
    has steps enough for an error below 1 %.
    """
    config = dataclasses.replace(CONFIG, sampling=STEPS)
    sde = VPSDE() if kind == "vp" else VESDE(sigma_min=0.003, sigma_max=30.0)
    method = residual(config, sde, Exact(), sampler=name)
    count = 32768
    mr = np.broadcast_to(np.float32([0.5, -1.0]), (count, 1, 1, 2))[..., None]
    keys = slice_keys(0, 0, jnp.zeros(count, int), jnp.arange(count))
    samples = optimised(method.draw)(Params(None, None, jnp.asarray(scale := 0.5)), keys, mr)
    assert bool(samples.ok.all())
    standard = (np.asarray(samples.x)[:, 0, 0, :, 0] - config.data.ct_mean) / config.data.ct_std
    np.testing.assert_allclose(standard.mean(0), A * mr[0, 0, 0, :, 0], atol=0.02 * scale)
    np.testing.assert_allclose(standard.std(0), scale, rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(standard.T)[0, 1], CORRELATION, atol=0.02)


@pytest.fixture(scope="module")
def batch() -> Batch:
    mr = jax.random.uniform(jax.random.key(5), (4, 8, 8, 1), minval=-1.0)
    return Batch(mr, -0.5 * mr, jnp.ones_like(mr))


@pytest.fixture(scope="module")
def learner():
    """The method, its compiled update, and its first state."""
    method = build_method(CONFIG)
    update = parallel.seldom(method.update)
    shape = jnp.zeros((1, 8, 8, 1))
    state = parallel.seldom(lambda: method.init(jax.random.key(0), Batch(shape, shape, shape)))()
    return method, update, state


def trained(learner, batch: Batch, steps: int):
    """The state after some steps with one batch."""
    _, update, state = learner
    for step in range(steps):
        state, metrics = update(state, example_keys(0, step, 4), batch)
        assert metrics["skipped"] == 0
    return state


def largest_change(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def same(one, other) -> bool:
    return largest_change(one, other) == 0


def turns(config: Experiment, steps: int) -> tuple[list[bool], list[float]]:
    """Whether each step trains the denoiser, and its learning rate."""
    plan = Plan(config)
    state, denoises, rates = plan.begin({"w": jnp.zeros(2)}, None, jnp.ones(())), [], []
    for _ in range(steps):
        state, rate = plan.turn(state)
        denoises.append(int(state.denoised) >= 0)
        rates.append(float(rate))
        state = state._replace(step=state.step + 1)
    return denoises, rates


def test_the_steps_are_divided_and_each_network_has_a_schedule_of_its_own():
    """Of 24 steps, the last quarter denoises."""
    config = dataclasses.replace(
        CONFIG, training=dataclasses.replace(CONFIG.training, warmup=3, decay=True)
    )
    denoises, rates = turns(config, 24)
    assert denoises == [False] * 18 + [True] * 6
    peak = config.training.learning_rate
    assert max(rates[:18]) == pytest.approx(peak, rel=1e-3) == max(rates[18:])
    assert max(rates[17], rates[23]) < peak / 5


def test_a_prolonged_training_goes_on_with_the_denoiser():
    plan = Plan(CONFIG)
    state = plan.begin({"w": jnp.zeros(2)}, None, jnp.ones(()))
    for _ in range(24):
        state = plan.turn(state)[0]
        state = state._replace(step=state.step + 1)
    longer = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, steps=96))
    assert Plan(longer).first > 24
    assert int(Plan(longer).turn(state)[0].denoised) == 18


def mean_error(params, batch: Batch) -> float:
    """The regression's mean |error|, in units of ct_std."""
    config = dataclasses.replace(CONFIG, data=DataConfig(batch_size=4, flip=False))
    predicted = build_method(config, sampler=MEAN).draw(params, None, batch.mr[:, None]).x[:, 0]
    return float(jnp.mean(jnp.abs(predicted - batch.ct))) / CONFIG.data.ct_std


def test_the_scale_follows_the_regressions_error(learner, batch):
    """The residual's scale moves towards the mean error at each of the regression's steps."""
    before, after = (trained(learner, batch, steps) for steps in (8, 9))
    error = mean_error(Params(before.active.params, None, jnp.ones(())), batch)
    expected = 0.95 * float(before.scale) + 0.05 * np.sqrt(np.pi / 2) * error
    assert float(after.scale) == pytest.approx(expected, rel=1e-4)  # float32 sums
    assert trained(learner, batch, 20).scale == trained(learner, batch, 18).scale


@pytest.mark.slow
def test_draws_have_the_scale_of_the_validation_patients(learner, batch):
    """Other patients, whose CT the regression misses by 0.3 more, have larger residuals.

    Draws at the new scale differ from their mean as much as it misses the CT of these patients.
    """
    method, state = learner[0], trained(learner, batch, 24)
    others = batch._replace(ct=batch.ct + 0.3)
    loss, keys = jax.jit(method.loss), [example_keys(seed, 0, 4) for seed in range(32)]
    losses = {name: float(value) for name, value in loss(state, keys[0], others).items()}
    learnt = method.weights(state)
    losses |= comparer(method)(learnt, keys, [others] * len(keys))
    params = method.validated(learnt, losses)
    assert losses["mean_error"] == pytest.approx(mean_error(learnt, others), rel=1e-4)
    np.testing.assert_allclose(params.scale, scale_of_draws(losses), rtol=1e-6)
    assert same(params._replace(scale=learnt.scale, shape=None), learnt)
    few = with_evaluations(CONFIG.sampling, "unipc", 4, VPSDE())
    draw = jax.jit(build_method(dataclasses.replace(CONFIG, sampling=few), sampler="unipc").draw)
    keys = slice_keys(0, 0, jnp.repeat(jnp.arange(4), 64), jnp.tile(jnp.arange(64), 4))
    draws = draw(params, keys, jnp.repeat(others.mr[:, None], 64, axis=0)).x[:, 0]
    draws = draws.reshape(4, 64, *draws.shape[1:])
    error, spread = jnp.mean((draws.mean(1) - others.ct) ** 2), jnp.mean(draws.var(1, ddof=1))
    # 32 pairs of draws of each slice set the scale, and 64 draws judge it.
    assert np.sqrt(65 / 64 * spread / error) == pytest.approx(1.0, abs=0.05)


def test_the_denoiser_begins_with_the_regressions_average(learner, batch):
    before, after = (trained(learner, batch, steps) for steps in (18, 19))
    regression = learner[0].weights(before).mean
    rate = CONFIG.training.learning_rate  # the first step of Adam moves each weight by that
    assert 0 < largest_change(regression, after.active.params) <= 1.01 * rate


def test_given_weights_keep_their_denoiser(learner, batch):
    method, update, _ = learner
    given = method.weights(trained(learner, batch, 24))
    state = method.init(jax.random.key(1), batch, given)
    assert same(method.weights(state), given)
    before, after = (trained((method, update, state), batch, steps) for steps in (18, 19))
    assert same(method.weights(before).denoiser, given.denoiser)
    moved = largest_change(given.denoiser, after.active.params)
    assert 0 < moved <= 1.01 * CONFIG.training.learning_rate


def test_there_are_no_draws_before_the_denoiser_is_trained(learner, batch):
    method = learner[0]
    keys = slice_keys(0, 0, jnp.arange(4), jnp.zeros(4, int))
    few = dataclasses.replace(CONFIG, sampling=SamplingConfig(ddpm_steps=2))
    draw = jax.jit(build_method(few).draw)
    early = draw(method.weights(trained(learner, batch, 18)), keys, batch.mr[:, None])
    assert not early.ok.any()
    late = draw(method.weights(trained(learner, batch, 19)), keys, batch.mr[:, None])
    assert late.ok.all() and late.nfe.tolist() == [3] * 4


def test_the_mean_needs_no_draws_and_does_not_prefer_a_side(learner, batch):
    params = learner[0].weights(trained(learner, batch, 4))
    method = build_method(CONFIG, sampler=MEAN)
    assert not method.is_random
    keys = slice_keys(0, 0, jnp.arange(4), jnp.zeros(4, int))
    draw = jax.jit(method.draw)
    mr = batch.mr[:, None]
    one, two = draw(params, keys, mr), draw(params, keys, mr[..., ::-1, :])
    assert one.nfe.tolist() == [2] * 4 and bool(one.ok.all())
    np.testing.assert_allclose(one.x, two.x[..., ::-1, :], atol=1e-5)


def test_a_range_of_the_ct_cannot_be_kept_by_a_difference():
    from sde_ct.config import validate

    config = dataclasses.replace(CONFIG, sampling=SamplingConfig(clip_denoised=True))
    with pytest.raises(InputError, match="clip_denoised"):
        validate(config)


def test_a_program_traces_the_network_of_regression_and_denoiser_once(monkeypatch):
    """Each trace of the paper's network takes a second of the start of a synthesis."""
    evaluator.cache_clear()  # other tests may have traced the same network
    traces, down = [], UNet._down
    monkeypatch.setattr(UNet, "_down", lambda *args: traces.append(1) or down(*args))
    method = build_method(CONFIG, sampler="dpm_sde")  # its last evaluation is outside the loop
    mr = jnp.zeros((2, 1, 8, 8, 1))
    batch = Batch(mr[0], mr[0], mr[0])
    params = jax.eval_shape(lambda: method.weights(method.init(jax.random.key(0), batch)))
    keys = slice_keys(0, 0, jnp.arange(2), 0)
    traces.clear()
    jax.eval_shape(method.draw, params, keys, mr)
    assert len(traces) == 1
