"""Draws in one evaluation, and their training by a teacher's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.config import DataConfig, Experiment, NetworkConfig, TrainingConfig
from sde_ct.methods import build_method
from sde_ct.methods.decomposition import Params, scale_of
from sde_ct.methods.distilled import distilled
from sde_ct.methods.validated_scale import scale_of_draws
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys
from sde_ct.training.validation import comparer
from sde_ct.types import Batch

from .. import tiny
from ..programs import call

CONFIG = Experiment(
    method="distilled",
    network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
    data=DataConfig(batch_size=4),
    training=TrainingConfig(steps=24, learning_rate=3e-3, clip=1.0, ema=0.9),
)
A, SCALE = 0.4, 0.5
MIX = np.float32([[1.0, 0.0], [0.6, 0.8]])  # a residual of unit variance with a correlation of .6


class Exact:
    """In place of the network: the regression A·MR, and draws MIX·noise of two pixels."""

    @property
    def forward(self):
        return self

    def apply(self, params, inputs, label):
        noise, mr = inputs[..., :1], inputs[..., 2:]
        drawn = jnp.einsum("pq,bhqc->bhpc", MIX, noise)
        return jnp.where(jnp.all(inputs[..., :2] == 0), A * mr, drawn)


def test_draws_are_the_mean_and_a_scaled_residual_of_their_noise():
    """Mean and covariance of 32768 draws of two slices within 2 %, three sampling errors.

    The noise of the slices is correlated by .8, and so are their draws.
    """
    method, count = distilled(CONFIG, VPSDE(), Exact()), 32768
    mr = np.broadcast_to(np.float32([0.5, -1.0]), (count, 2, 1, 2))[..., None]
    keys = slice_keys(0, 0, jnp.zeros(count, int), jnp.arange(count))
    factor = jnp.float32([[1.0, 0.0], [0.8, 0.6]])
    samples = jax.jit(method.draw)(Params(None, None, jnp.asarray(SCALE)), keys, mr, factor)
    np.testing.assert_array_equal(samples.nfe, 2)
    x = (np.asarray(samples.x)[:, :, 0, :, 0] - CONFIG.data.ct_mean) / CONFIG.data.ct_std
    rest = (x - x.mean(0)) / SCALE
    np.testing.assert_allclose(x.mean(0), np.broadcast_to(A * mr[0, 0, 0, :, 0], (2, 2)), atol=0.01)
    # A mirrored MR gives mirrored pixels, whose first has the mixed noise: half of all draws.
    np.testing.assert_allclose((rest**2).mean(0), 1.0, atol=0.03)
    np.testing.assert_allclose((rest[:, 0] * rest[:, 1]).mean(0), 0.8, atol=0.02)
    np.testing.assert_allclose((rest[..., 0] * rest[..., 1]).mean(0), 0.6, atol=0.02)


@pytest.mark.slow
def test_training_changes_the_generator_alone_and_measures_the_scale():
    mr = jax.random.uniform(jax.random.key(5), (4, 8, 8, 1), minval=-1.0)
    ct = -0.5 * mr + 0.2 * jax.random.normal(jax.random.key(6), mr.shape)
    batch, method = Batch(mr, ct, jnp.ones_like(mr)), build_method(CONFIG)
    begin = parallel.seldom(method.init)
    teacher = method.weights(begin(jax.random.key(0), batch))._replace(scale=jnp.asarray(0.3))
    state = begin(jax.random.key(1), batch, teacher)
    update, loss = parallel.seldom(method.update), parallel.seldom(method.loss)
    keys = example_keys(1, 0, 4)
    before = loss(state, keys, batch)
    for step in range(60):
        state, _ = update(state, example_keys(0, step, 4), batch)
    after, params = loss(state, keys, batch), method.weights(state)
    assert after["loss"] < 0.8 * before["loss"]
    for one, other in zip(*map(jax.tree.leaves, (params.mean, teacher.mean)), strict=True):
        np.testing.assert_array_equal(one, other)
    # The batch is always the same, and the average forgets the teacher's scale by .95 a step.
    expected = scale_of(before["mean_error"])
    np.testing.assert_allclose(params.scale, expected + 0.95**60 * (0.3 - expected), rtol=1e-3)
    figures = after | comparer(method)(params, [keys], [batch])
    found = method.validated(params, figures).scale
    np.testing.assert_allclose(found, scale_of_draws(figures), rtol=1e-6)


def test_a_student_needs_a_trained_teacher_and_draws_without_a_sampler(runs, phantoms, tmp_path):
    recipe = tiny.write_recipe(tiny.experiment("distilled"), tmp_path / "distilled.py")
    train = ["train", f"--config={recipe}", f"--data={phantoms.folder}"]
    refused = call(*train, f"--workdir={tmp_path / 'alone'}")
    assert refused.status == 2 and "give its work directory as --teacher" in refused.err
    other = tiny.untrained(tiny.experiment("residual"), phantoms, tmp_path / "young")
    refused = call(*train, f"--workdir={tmp_path / 'early'}", f"--teacher={other}")
    assert refused.status == 2 and "has not been trained yet" in refused.err
    student = runs("distilled")
    mr, output = phantoms.folder.parent / "cohort", tmp_path / "out"
    patient = next(mr.rglob("mr.nii.gz"))
    ask = ["synthesize", f"--workdir={student}", f"--mr={patient}", "--draws=2"]
    done = call(*ask, f"--output={output}")
    assert done.status == 0, done.err
    for flag, word in (("--sampler=ddpm", "no sampler"), ("--evaluations=4", "fixed")):
        refused = call(*ask, f"--output={tmp_path / 'no'}", flag)
        assert refused.status == 2 and word in refused.err
