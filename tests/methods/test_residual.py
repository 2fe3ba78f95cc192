"""A regression, its copies without a fold each, and a diffusion of what they leave open."""

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
from sde_ct.methods.residual import Params, residual
from sde_ct.methods.residual_plan import Plan
from sde_ct.methods.samplers import MEAN, SAMPLERS
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys
from sde_ct.types import Batch

CONFIG = Experiment(
    method="residual",
    network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
    data=DataConfig(batch_size=4),
    training=TrainingConfig(steps=24, learning_rate=3e-3, clip=1.0, ema=0.9),
)
CONFIG.residual.shared_epochs, CONFIG.residual.denoiser_share = 2, 0.25

A, CORRELATION = 0.4, 0.6  # of the closed form


class Exact:
    """In place of the network: the exact regression and score of jointly Gaussian images.

    Of two pixels, CT = A·MR + r, with r ~ N(0, C) of unit variance. With ρ = σ/α and u = x/α =
    r + ρ z, the denoised residual is D = C (C + ρ²)⁻¹ u, and F = (D - c_skip u)/c_out.
    """

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
    mr = np.broadcast_to(np.float32([0.5, -1.0]), (count, 1, 2))[..., None]
    keys = slice_keys(0, 0, jnp.zeros(count, int), jnp.arange(count))
    samples = jax.jit(method.draw)(Params(None, None, jnp.asarray(scale := 0.5)), keys, mr)
    assert bool(samples.ok.all())
    standard = (np.asarray(samples.x)[:, 0, :, 0] - config.data.ct_mean) / config.data.ct_std
    np.testing.assert_allclose(standard.mean(0), A * mr[0, 0, :, 0], atol=0.02 * scale)
    np.testing.assert_allclose(standard.std(0), scale, rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(standard.T)[0, 1], CORRELATION, atol=0.02)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Four patients of one slice each; patients 0 and 2 are fold 0, 1 and 3 are fold 1."""
    mr = jax.random.uniform(jax.random.key(5), (4, 8, 8, 1), minval=-1.0)
    return Batch(mr, -0.5 * mr, jnp.ones_like(mr), jnp.arange(4), jnp.zeros(4, jnp.int32))


@pytest.fixture(scope="module")
def learner():
    """The method, its compiled update, and its first state."""
    method = build_method(CONFIG)
    update = parallel.seldom(method.update)
    shape = jnp.zeros((1, 8, 8, 1))
    state = parallel.seldom(lambda: method.init(jax.random.key(0), Batch(shape, shape, shape)))()
    return method, update, state


def trained(learner, batch: Batch, steps: int, per_epoch: int = 4):
    """The state after some steps with one batch."""
    _, update, state = learner
    for step in range(steps):
        epoch = jnp.full(4, step // per_epoch)
        state, metrics = update(state, example_keys(0, step, 4), batch._replace(epoch=epoch))
        assert metrics["skipped"] == 0
    return state


def largest_change(one, other) -> float:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)


def same(one, other) -> bool:
    return largest_change(one, other) == 0


def turns(config: Experiment, per_epoch: int) -> list[int]:
    """The numbers of the networks that all steps train."""
    plan = Plan(config)
    state, numbers = plan.begin({"w": jnp.zeros(2)}, None, jnp.ones(())), []
    for step in range(config.training.steps):
        state, turn = plan.turn(state, jnp.asarray(step // per_epoch))
        numbers.append(int(turn.number))
        state = state._replace(step=state.step + 1)
    return numbers


def test_the_steps_are_divided_among_the_networks():
    """Of 24 steps, two epochs of 4 are the regression's, 10 are shared by three, 6 denoise."""
    assert turns(CONFIG, 4) == [0] * (8 + 3) + [1] * 3 + [2] * 4 + [3] * 6
    # Data that are not shown often enough to be known by heart need no copies.
    assert turns(CONFIG, 100) == [0] * 18 + [3] * 6
    assert turns(CONFIG, 8) == [0] * 18 + [3] * 6  # 2 steps are too few for three networks


def test_the_regressions_share_one_schedule_and_the_denoiser_has_its_own():
    config = dataclasses.replace(
        CONFIG, training=dataclasses.replace(CONFIG.training, warmup=3, decay=True)
    )
    plan = Plan(config)
    state, rates = plan.begin({"w": jnp.zeros(2)}, None, jnp.ones(())), []
    for step in range(24):
        state, turn = plan.turn(state, jnp.asarray(step // 4))
        rates.append(float(turn.rate))
        state = state._replace(step=state.step + 1)
    peak = config.training.learning_rate
    assert max(rates[:18]) == pytest.approx(peak, rel=1e-3) == max(rates[18:])
    # Regression and copies each end near 0, and a copy begins where the regression stood then.
    assert max(rates[10], rates[13], rates[17], rates[23]) < peak / 5
    assert rates[8] == pytest.approx(rates[11]) == pytest.approx(rates[14])


def test_a_prolonged_training_goes_on_with_the_denoiser():
    plan = Plan(CONFIG)
    state = plan.begin({"w": jnp.zeros(2)}, None, jnp.ones(()))
    for step in range(24):
        state, _ = plan.turn(state, jnp.asarray(step // 4))
        state = state._replace(step=state.step + 1)
    longer = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, steps=96))
    _, turn = Plan(longer).turn(state, jnp.asarray(6))
    assert int(turn.number) == plan.denoiser


def test_a_copy_does_not_learn_from_its_fold(learner, batch):
    """Copy 1 leaves out fold 0: another CT of patients 0 and 2 does not change its update."""
    _, update, _ = learner
    begun = trained(learner, batch, 11)
    keys, late = example_keys(0, 11, 4), batch._replace(epoch=jnp.full(4, 2))
    other = late._replace(ct=batch.ct.at[0].add(0.3).at[2].add(-0.2))
    one, _ = update(begun, keys, late)
    two, _ = update(begun, keys, other)
    assert int(one.number) == 1 and not same(one.active.params, begun.active.params)
    assert same(one.active, two.active)
    assert one.scale != two.scale  # which is measured on the fold


def test_a_copy_begins_where_the_regression_stood_when_they_parted(learner, batch):
    """And the regression is kept as it is when its turn ends."""
    parted, ended = (trained(learner, batch, steps) for steps in (8, 11))
    after, _ = learner[1](ended, example_keys(0, 11, 4), batch._replace(epoch=jnp.full(4, 2)))
    rate = CONFIG.training.learning_rate  # the first step of Adam moves each weight by that
    assert 0 < largest_change(parted.active.params, after.active.params) <= 1.01 * rate
    assert same(learner[0].weights(ended).mean, learner[0].weights(after).mean)


def test_the_scale_follows_the_patients_left_out(learner, batch):
    """In the first step of copy 1, by the mean error of fold 0, which the copy leaves out."""
    state = trained(learner, batch, 11)
    start = trained(learner, batch, 8).active.params
    config = dataclasses.replace(CONFIG, data=DataConfig(batch_size=4, flip=False))
    mean = build_method(config, sampler=MEAN)
    predicted = mean.draw(Params(start, None, jnp.ones(())), None, batch.mr).x
    error = ((predicted - batch.ct) / CONFIG.data.ct_std)[::2]
    after, _ = learner[1](state, example_keys(0, 11, 4), batch._replace(epoch=jnp.full(4, 2)))
    size = float(np.sqrt(np.pi / 2) * jnp.mean(jnp.abs(error)))
    expected = 0.95 * float(state.scale) + 0.05 * size
    assert float(after.scale) == pytest.approx(expected, rel=1e-4)  # float32 sums


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
    early = draw(method.weights(trained(learner, batch, 18)), keys, batch.mr)
    assert not early.ok.any()
    late = draw(method.weights(trained(learner, batch, 19)), keys, batch.mr)
    assert late.ok.all() and late.nfe.tolist() == [3] * 4


def test_the_mean_needs_no_draws_and_does_not_prefer_a_side(learner, batch):
    params = learner[0].weights(trained(learner, batch, 4))
    method = build_method(CONFIG, sampler=MEAN)
    assert not method.is_random
    keys = slice_keys(0, 0, jnp.arange(4), jnp.zeros(4, int))
    draw = jax.jit(method.draw)
    one, two = draw(params, keys, batch.mr), draw(params, keys, batch.mr[:, :, ::-1])
    assert one.nfe.tolist() == [2] * 4 and bool(one.ok.all())
    np.testing.assert_allclose(one.x, two.x[:, :, ::-1], atol=1e-5)


def test_a_range_of_the_ct_cannot_be_kept_by_a_difference():
    from sde_ct.config import validate

    config = dataclasses.replace(CONFIG, sampling=SamplingConfig(clip_denoised=True))
    with pytest.raises(InputError, match="clip_denoised"):
        validate(config)
