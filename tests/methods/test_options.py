"""Every option of a recipe does what it says: one that is ignored fails here."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sde_ct import VPSDE
from sde_ct.config import (
    AdversarialConfig,
    DataConfig,
    Experiment,
    NetworkConfig,
    SamplingConfig,
    TrainingConfig,
)
from sde_ct.methods import build_method, build_network
from sde_ct.methods.samplers import sampler_fn
from sde_ct.methods.step import adam, schedule
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys, initialised
from sde_ct.types import Batch

NETWORK = NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2)


@pytest.fixture(scope="module")
def batch() -> Batch:
    mr = jax.random.uniform(jax.random.key(5), (2, 8, 8, 1), minval=-1.0)
    return Batch(mr, -0.5 * mr, jnp.ones_like(mr))


def test_the_learning_rate_warms_up_and_decays():
    config = TrainingConfig(steps=100, learning_rate=0.1, warmup=10, decay=True)
    rate = schedule(config, config.learning_rate)
    assert [float(rate(k)) for k in (0, 5, 10)] == pytest.approx([0.01, 0.055, 0.1])
    # Half a cosine from step 10 to step 100.
    assert [float(rate(k)) for k in (55, 100)] == pytest.approx([0.05, 0.0], abs=1e-7)
    config.decay = False
    assert [float(schedule(config, 0.1)(k)) for k in (0, 10, 1000)] == pytest.approx(
        [0.01, 0.1, 0.1]
    )
    config.warmup = 0
    assert float(schedule(config, 0.1)(0)) == pytest.approx(0.1)


def test_clipping_bounds_the_gradient_that_adam_sees():
    config = TrainingConfig(learning_rate=1.0, clip=1.0)
    slope = jnp.array([3.0, 4.0])

    def first_moment(clip: float) -> np.ndarray:
        optimiser = adam(dataclasses.replace(config, clip=clip))
        state = optimiser.update(slope, optimiser.init(slope), slope)[1]
        return np.asarray(optax.tree_utils.tree_get(state, "mu"))

    # The first moment is 1 - 0.9 of the gradient; its norm of 5 is clipped to 1.
    np.testing.assert_allclose(first_moment(1.0), [0.06, 0.08], rtol=1e-5)
    np.testing.assert_allclose(first_moment(0.0), [0.3, 0.4], rtol=1e-5)


def one_gan_step(batch: Batch, **adversarial):
    """Metrics of the first step, and how far the discriminator's parameters moved."""
    config = Experiment(
        method="gan",
        network=NETWORK,
        adversarial=AdversarialConfig(channels=8, **adversarial),
        training=TrainingConfig(learning_rate=1e-3, ema=0.0),
    )
    method = build_method(config)
    state = initialised(lambda: method.init(jax.random.key(0), batch))
    after, metrics = parallel.seldom(method.update)(state, example_keys(0, 0, 2), batch)
    moved = jax.tree.map(
        lambda a, b: jnp.abs(a - b).max(), after.discriminator.params, state.discriminator.params
    )
    return metrics, float(max(jax.tree.leaves(moved)))


@pytest.mark.slow
def test_the_gans_weight_and_learning_rate(batch):
    light, slow = one_gan_step(batch, l1_weight=1.0, learning_rate=1e-4)
    heavy, fast = one_gan_step(batch, l1_weight=50.0, learning_rate=1e-2)
    # Adam's first step is the learning rate, whatever the gradient.
    assert (slow, fast) == (pytest.approx(1e-4, rel=0.01), pytest.approx(1e-2, rel=0.01))
    np.testing.assert_allclose(heavy["l1"], light["l1"], rtol=1e-5)  # told without its weight
    np.testing.assert_allclose(heavy["loss"] - light["loss"], 49 * light["l1"], rtol=1e-4)


def test_the_discriminator_computes_in_the_networks_type(batch):
    config = Experiment(
        method="gan",
        network=dataclasses.replace(NETWORK, dtype="bfloat16"),
        adversarial=AdversarialConfig(channels=8),
    )
    method = build_method(config)
    state = jax.eval_shape(lambda: method.init(jax.random.key(0), batch))
    text = str(jax.make_jaxpr(method.update)(state, example_keys(0, 0, 2), batch))
    convolutions = [line for line in text.splitlines() if "= conv_general_dilated" in line]
    assert convolutions and all("bf16" in line.split("=")[0] for line in convolutions)


def applied(batch: Batch, noise: float = 0.3, **network):
    """The jaxpr of the gradient and the output of a network whose parameters are not zero."""
    config = Experiment(network=dataclasses.replace(NETWORK, **network))
    net = build_network(config)
    x, label = jnp.concatenate([batch.ct, batch.mr], -1), jnp.full(2, noise)
    params = initialised(lambda: net.init(jax.random.key(0), x, label))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape).astype("f4"), params)
    jaxpr = jax.make_jaxpr(jax.grad(lambda p: net.apply(p, x, label).sum()))(params)
    return str(jaxpr), parallel.seldom(net.apply)(params, x, label)


def test_a_backward_pass_recomputes_norms_and_with_remat_convolutions_too(batch):
    (plain, one), (remat, other) = applied(batch), applied(batch, remat=True)
    # Two convolutions in each of five blocks, stem and head; two norms in a block, one in the head.
    # Each convolution has two gradients, except the stem, whose input needs none.
    assert (
        plain.count("= conv_general_dilated") == 12 + 24 - 1 and plain.count("= rsqrt") == 11 + 10
    )
    # The second convolution of a block ends in a sum, whose gradient does not need its value.
    assert remat.count("= conv_general_dilated") == 12 + 24 - 1 + 5
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_frequencies_of_the_noise_features_scale(batch):
    """Twice the scale is twice the label: the features see their product alone."""
    (_, one), (_, other) = applied(batch, 0.4, noise_scale=1.0), applied(batch, 0.2, noise_scale=2)
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert jnp.abs(one - applied(batch, 0.4, noise_scale=2.0)[1]).max() > 1e-3


def drawn(
    batch: Batch, sampler: str, intensity: str = "window", *, bias: float = 0.5, **sampling
) -> np.ndarray:
    """Draws of a network whose output is large: it leaves the data's range, up or down."""
    config = Experiment(
        network=NETWORK,
        data=DataConfig(intensity=intensity),
        sampling=SamplingConfig(ddpm_steps=3, pc_steps=3, **sampling),
    )
    method = build_method(config, sampler=sampler)
    params = initialised(lambda: method.init(jax.random.key(0), batch)).params
    params["params"]["head"]["bias"] += bias
    keys = slice_keys(0, 0, np.arange(2), np.zeros(2, int))
    return np.asarray(parallel.seldom(method.draw)(params, keys, batch.mr[:, None]).x)


@pytest.mark.slow
def test_the_correctors_options_reach_it(batch):
    usual = drawn(batch, "pc", snr=0.16)
    assert np.abs(usual - drawn(batch, "pc", snr=0.32)).max() > 1e-3
    assert np.abs(usual - drawn(batch, "pc", snr=0.16, batch_mean_step=True)).max() > 1e-3


@pytest.mark.parametrize(("intensity", "low"), [("window", -1.0), ("slice_minmax", 0.0)])
def test_clipping_keeps_draws_in_the_range_of_the_data(intensity, low, batch):
    ends = [drawn(batch, "ddpm", intensity, bias=b, clip_denoised=True) for b in (-20.0, 20.0)]
    np.testing.assert_allclose(ends[0], low, atol=1e-5)  # float32 rounding
    np.testing.assert_allclose(ends[1], 1.0, atol=1e-5)
    assert drawn(batch, "ddpm", intensity, bias=20.0).min() > 1.1


def test_four_evaluations_keep_the_spread_of_wider_data_with_wider_levels():
    """Gaussian data 4 times as wide as the data's standard deviation, with their exact score.

    Of 16,384 draws the standard deviation scatters by 0.6 %.
    """
    sde, wide = VPSDE(), 4.0

    def score(x, t):
        alpha, std = sde.marginal(t)
        return -x / (alpha**2 * wide**2 + std**2)[:, None]

    def spread(few_width: float) -> float:
        options = SamplingConfig(fast_evaluations=4, few_width=few_width)
        sample = sampler_fn("unipc", Experiment(sampling=options), sde)
        return float(sample(jax.random.key(0), sde, score, (1 << 14, 1)).x.std()) / wide

    assert spread(1.0) == pytest.approx(0.66, abs=0.03)
    assert spread(2.0) == pytest.approx(1.0, abs=0.03)
