"""Residual networks whose draws are volumes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.data.through_plane import factor
from sde_ct.methods import build_method, joint
from sde_ct.methods.decomposition import Shape
from sde_ct.methods.patient_effect import no_effect
from sde_ct.methods.samplers import sampler_fn
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.training.state import example_keys
from sde_ct.types import Batch

from .. import tiny
from ..programs import call

SLAB, SIDE = 4, 8
FACTOR = factor([2.0] * 5, 4.0, SLAB)  # nearly independent between slices


def experiment(method: str):
    config = tiny.experiment(method, steps=400, learning_rate=3e-3, warmup=20, ema=0.9)
    config.sde.kind, config.data.flip, config.diffusion.times = "vp", False, "uniform"
    if method == "joint":
        config.data.slab = SLAB
    return config


def coins(key, volumes: int) -> Batch:
    """Volumes whose CT is -.6 + .33 or -.6 - .33 in all slices. The MR does not show which."""
    side = jnp.where(jax.random.bernoulli(key, shape=(volumes,)), 1.0, -1.0)
    ct = jnp.broadcast_to(side.repeat(SLAB)[:, None, None, None], (volumes * SLAB, SIDE, SIDE, 1))
    ones = jnp.ones_like(ct)
    return Batch(0 * ct, -0.6 + 0.33 * ct, ones, jnp.broadcast_to(FACTOR, (volumes, *FACTOR.shape)))


def trained(method: str, steps: int, params=None):
    """The weights after some steps, each with four new volumes."""
    learner = build_method(experiment(method))
    given = () if params is None else (params,)
    state = parallel.seldom(learner.init)(jax.random.key(0), coins(jax.random.key(0), 1), *given)
    update, examples = parallel.seldom(learner.update), 4 if method == "joint" else 4 * SLAB
    for step in range(steps):
        batch = coins(jax.random.key(step), 4)
        batch = batch if method == "joint" else batch._replace(along_z=None)
        state, _ = update(state, example_keys(0, step, examples), batch)
    return learner.weights(state)


def random_weights():
    """Weights of a residual network, with a scale of 0.5. Fresh networks would return zero."""
    learner = build_method(experiment("residual"))
    init = parallel.seldom(lambda key, batch: learner.weights(learner.init(key, batch)))
    params = init(jax.random.key(0), coins(jax.random.key(0), 1))
    return with_noise(params, 0.05)._replace(scale=jnp.asarray(0.5))


def with_noise(params, size: float):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [size * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, [x + n for x, n in zip(leaves, noise, strict=True)])


def drawn(method: str, params, count: int, sampler: str = "dpm_sde") -> np.ndarray:
    draw = parallel.seldom(build_method(experiment(method), sampler=sampler).draw)
    keys = slice_keys(0, 0, jnp.zeros(count, int), jnp.arange(count))
    samples = draw(params, keys, jnp.zeros((count, SLAB, SIDE, SIDE, 1)), FACTOR)
    assert samples.ok.all()
    return np.asarray(samples.x)


def test_untrained_layers_leave_the_draws_of_the_residual_network():
    params, method = random_weights(), build_method(experiment("joint"))
    batch = coins(jax.random.key(0), 1)
    extended = method.weights(parallel.seldom(method.init)(jax.random.key(0), batch, params))
    assert extended.along_z is not None and params.along_z is None
    # By ddpm, because the fast solvers take other noise levels for volumes.
    one, other = (
        drawn(name, weights, 3, "ddpm")
        for name, weights in (("residual", params), ("joint", extended))
    )
    # Float32 sums in another order; the draws of a network without weights are .5 apart.
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert np.abs(one[0] - one[1]).max() > 0.1


def test_a_state_has_the_same_arrays_whatever_its_teacher():
    """Otherwise a checkpoint could not be read, because this is done without the teacher."""
    batch, method = coins(jax.random.key(0), 1), build_method(experiment("joint"))
    learner = build_method(experiment("residual"))
    plain = jax.eval_shape(lambda: learner.weights(learner.init(jax.random.key(0), batch)))
    ones = jax.ShapeDtypeStruct((6,), jnp.float32), jax.ShapeDtypeStruct((5,), jnp.float32)
    effect = jax.eval_shape(no_effect)
    shape = Shape(ones[1], plain.scale)
    validated = plain._replace(scale=ones[0], shape=shape, patient_effect=effect)
    without, *given = (
        jax.eval_shape(method.init, jax.random.key(0), batch, *teacher)
        for teacher in ((), (plain,), (validated,))
    )
    assert all(one == without for one in given)


def test_large_volumes_are_drawn_as_a_stream_without_seams(monkeypatch):
    """22 slices in chunks of four, with random weights of the layers between slices."""
    method = build_method(experiment("joint"), sampler="unipc")
    params, batch = random_weights(), coins(jax.random.key(0), 1)
    params = method.weights(parallel.seldom(method.init)(jax.random.key(0), batch, params))
    params = params._replace(along_z=with_noise(params.along_z, 0.3))
    mr = jax.random.uniform(jax.random.key(2), (1, 22, SIDE, SIDE, 1))
    keys, along_z = slice_keys(0, 0, jnp.zeros(1, int), jnp.arange(1)), factor([9.0] * 5, 4.0, 22)

    def drawn_with(largest: int) -> np.ndarray:
        monkeypatch.setattr(joint, "LARGEST", largest)
        return np.asarray(jax.jit(method.draw)(params, keys, mr, along_z).x)

    whole = drawn_with(10**9)
    # Float32 sums in another order, four times; neighbouring slices are .1 apart.
    np.testing.assert_allclose(drawn_with(0), whole, atol=1e-3)
    assert np.abs(np.diff(whole, axis=1)).max() > 0.1


@pytest.mark.slow
def test_slices_decide_together():
    """One coin for a volume: most draws agree, where those of the teacher decide apart."""
    teacher = trained("residual", 400)
    params = trained("joint", 400, teacher)
    for one, other in zip(*map(jax.tree.leaves, (teacher[:2], params[:2])), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(params.scale, teacher.scale)
    agree = {}
    for method, weights in (("residual", teacher), ("joint", params)):
        up = drawn(method, weights, 128).mean(axis=(2, 3, 4)) > -0.6
        agree[method] = np.mean(up.all(axis=1) | ~up.any(axis=1))
    # Four fair coins agree in 0.125 of the draws. 0.04 is the standard error of a share of 128.
    assert agree["joint"] > 0.5 and agree["residual"] < 0.3


def test_volumes_have_more_noise_levels_at_which_regions_decide():
    """Equal steps in log(1/r + 1/hidden) from r = 152, the VP SDE's largest, to 0.01."""

    def levels(slab: int):
        config = tiny.experiment("joint")
        config.data.slab, config.sampling.fast_end = slab, 0.01
        grid = sampler_fn("dpm_sde", config, VPSDE()).keywords["grid"]
        return VPSDE().noise_ratio(grid(VPSDE(), 19))[:4]

    np.testing.assert_allclose(levels(1), [152, 43, 20.5, 11.4], rtol=0.02)
    np.testing.assert_allclose(levels(3), [152, 82, 46.8, 27.6], rtol=0.02)


def test_it_needs_a_teacher_and_makes_volumes(runs, phantoms, tmp_path):
    recipe = tiny.write_recipe(tiny.experiment("joint"), tmp_path / "joint.py")
    alone = ["train", f"--config={recipe}", f"--data={phantoms.folder}"]
    refused = call(*alone, f"--workdir={tmp_path / 'alone'}")
    assert refused.status == 2 and "give its work directory as --teacher" in refused.err
    refused = call(*alone, f"--workdir={tmp_path / 'other'}", f"--teacher={runs('cnn')}")
    assert refused.status == 2 and "--teacher=" in refused.err and "method 'cnn'" in refused.err
    refused = call(*alone, f"--workdir={tmp_path / 'other'}", f"--teacher={runs('distilled')}")
    assert refused.status == 2 and "method 'distilled': give" in refused.err
    patient = next((phantoms.folder.parent / "cohort").rglob("mr.nii.gz"))
    done = call(
        *("synthesize", f"--workdir={runs('joint')}", f"--mr={patient}", "--draws=2"),
        *("--sampler=dpm_sde", "--evaluations=4", f"--output={tmp_path / 'out'}"),
    )
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": {"slab": 1}}, "config.data.slab=1"),
        ({"sampling": {"correlated_noise": False}}, "correlated between slices"),
        ({"method": "residual"}, "config.data.slab=3"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(changed, message):
    from sde_ct.config import validate
    from sde_ct.errors import InputError

    config = tiny.experiment("joint")
    for name, value in changed.items():
        section = getattr(config, name)
        value = dataclasses.replace(section, **value) if isinstance(value, dict) else value
        setattr(config, name, value)
    with pytest.raises(InputError, match=message):
        validate(config)
