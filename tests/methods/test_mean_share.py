"""A diffusion whose network is trained as a regression too."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.config import DataConfig, Experiment, NetworkConfig, SamplingConfig, TrainingConfig
from sde_ct.config import validate as validated
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.methods.diffusion import diffusion
from sde_ct.methods.samplers import MEAN
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys
from sde_ct.types import Batch

CONFIG = Experiment(
    network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
    data=DataConfig(batch_size=4),
    training=TrainingConfig(steps=120, learning_rate=1e-2, clip=1.0, ema=0.9),
    sampling=SamplingConfig(ddpm_steps=4),
)
CONFIG.diffusion.mean_share = 0.5


def images(count: int) -> Batch:
    """An MR, and a CT of ct_mean + 0.5 MR, of 8 x 8 pixels."""
    mr = np.random.default_rng(0).normal(size=(count, 8, 8, 1)).astype(np.float32)
    return Batch(mr=mr, ct=CONFIG.data.ct_mean + 0.5 * mr, valid=np.ones_like(mr))


class Tell:
    """In place of the network: 1000 where it is asked for a regression, and 0 elsewhere."""

    def apply(self, params, inputs, label):
        nothing = jnp.all(inputs[..., :1] == 0, axis=(1, 2, 3)) & (label == 1.25)
        return jnp.where(nothing, 1000.0, 0.0)[:, None, None, None] * jnp.ones_like(inputs[..., :1])


def test_the_share_of_images_without_a_noised_ct():
    config = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, batch_size=4096))
    config.diffusion = dataclasses.replace(CONFIG.diffusion, mean_share=0.3)
    method = diffusion(config, VPSDE(), Tell())
    state = build_method(CONFIG).init(jax.random.key(0), images(4))
    loss = method.loss(state, example_keys(0, 0, 4096), images(4096))["loss"]
    # Four standard deviations of a binomial share; targets of order 1 change it by 1e-3 of itself.
    assert float(loss) / 1e6 == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 4096) + 1e-3)


def test_the_mean_is_learnt_and_does_not_prefer_a_side():
    method, batch = build_method(CONFIG), images(4)
    state, update = method.init(jax.random.key(0), batch), jax.jit(method.update)
    for step in range(120):
        state, _ = update(state, example_keys(0, step, 4), batch)
    mean = build_method(CONFIG, sampler=MEAN)
    assert not mean.is_random
    params, draw = mean.weights(state), jax.jit(mean.draw)
    one, two = draw(params, None, batch.mr), draw(params, None, batch.mr[:, :, ::-1])
    assert one.nfe.tolist() == [2] * 4 and bool(one.ok.all())
    np.testing.assert_allclose(one.x, two.x[:, :, ::-1], atol=1e-5)  # float32 sums
    # The mean of all CTs would err by 1; half of that is far above the error after 120 updates.
    constant = np.abs(batch.ct - batch.ct.mean()).mean()
    assert float(jnp.abs(one.x - batch.ct).mean()) < 0.5 * constant


def test_each_draw_sees_one_orientation():
    """It is a draw of the MR, or the mirrored draw of the mirrored MR, by its key."""
    batch, keys = images(8), slice_keys(0, 0, jnp.arange(8), jnp.zeros(8, int))
    params = build_method(CONFIG).init(jax.random.key(0), batch).params
    fixed = dataclasses.replace(CONFIG, data=DataConfig(batch_size=4, flip=False))
    draws, single = jax.jit(build_method(CONFIG).draw), jax.jit(build_method(fixed).draw)
    either = np.asarray(draws(params, keys, batch.mr).x)
    upright = np.asarray(single(params, keys, batch.mr).x)
    turned = np.asarray(single(params, keys, batch.mr[:, :, ::-1]).x)[:, :, ::-1]
    same = [
        [np.allclose(e, x, atol=1e-4) for e, x in zip(either, xs, strict=True)]
        for xs in (upright, turned)
    ]
    assert all(a != b for a, b in zip(*same, strict=True)) and 0 < sum(same[0]) < 8


@pytest.mark.parametrize("case", [{"method": "residual"}, {"form": "epsilon"}])
def test_a_share_is_refused_where_it_would_do_nothing(case):
    method, form = case.get("method", "diffusion"), case.get("form", "edm")
    config = dataclasses.replace(CONFIG, method=method)
    config.diffusion = dataclasses.replace(CONFIG.diffusion, form=form)
    with pytest.raises(InputError, match=r"config\.diffusion\.mean_share=0\.5 needs"):
        validated(config)
