"""Offsets that all slices of a volume share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct import VPSDE
from sde_ct.config import DataConfig, Experiment, NetworkConfig
from sde_ct.methods.decomposition import Decomposition, Params
from sde_ct.methods.distilled import distilled
from sde_ct.methods.patient_effect import (
    AXIS,
    LEAST,
    LEVELS,
    PatientEffect,
    drawn_curves,
    effect_of,
    measured_effect,
    offsets,
)
from sde_ct.methods.residual_draw import drawn
from sde_ct.methods.validated_scale import measured, validated
from sde_ct.models import UNet
from sde_ct.sampling.keys import slice_keys
from sde_ct.types import Batch, Samples

FACTOR = np.float32([[2, 0, 0, 0], [1, 2, 0, 0], [0, 3, 9, 0], [0, 0, 20, 15]])  # in HU
PATIENTS, SLICES = 400, 4


def cohort(shared=FACTOR, patients=PATIENTS):
    """Slices of 8 x 8 pixels at `LEVELS`, whose two draws miss the CT, all in HU.

    The misses of a patient's slices share a curve with the covariance of `shared`. Each slice has
    offsets of its own besides, and each draw has those of its pixels.
    """
    rng = np.random.default_rng(0)
    n = patients * SLICES
    patient = np.arange(n) // SLICES
    which = np.arange(64).reshape(8, 8) % len(LEVELS)
    mean = np.broadcast_to(np.take(LEVELS, which)[None, ..., None], (n, 8, 8, 1)).astype(float)
    curves = (rng.normal(size=(patients, len(LEVELS))) @ shared.T)[patient]
    curves = curves + 10 * rng.normal(size=curves.shape)
    missed = np.take_along_axis(curves, which.reshape(1, -1), 1).reshape(mean.shape)
    missed = missed + 30 * rng.normal(size=(2, *mean.shape))
    return np.array(AXIS, float), mean, missed, np.ones_like(mean), patient


def covariance(figures):
    factor = np.asarray(effect_of(figures).factor)
    return factor @ factor.T


def test_the_measured_covariance_is_that_of_what_slices_share():
    """Three standard errors: each product has a relative error of √(2/400) = 7 % at least."""
    found = covariance(measured_effect(*cohort()))
    expected = FACTOR @ FACTOR.T
    size = np.sqrt(np.diag(expected) + 10**2 / 3 + 30**2 / 16 / 3)
    np.testing.assert_array_less(np.abs(found - expected), 0.21 * np.outer(size, size))


def test_slices_that_share_nothing_have_no_common_offsets():
    """10 HU in each slice and 30 HU in each voxel leave a standard deviation below 2 HU."""
    found = covariance(measured_effect(*cohort(0 * FACTOR)))
    assert np.sqrt(np.diag(found)).max() < 2.0


def test_rare_large_errors_do_not_decide():
    """Without the clip, 1 % of the voxels at 1000 HU would add 10 HU to each offset."""
    axis, mean, missed, valid, patient = cohort()
    plain = covariance(measured_effect(axis, mean, missed, valid, patient))
    rng = np.random.default_rng(1)
    sign = np.sign(rng.normal(size=PATIENTS))[patient].reshape(-1, 1, 1, 1)
    rare = missed + 1000 * sign * (rng.random(mean.shape) < 0.01)
    found = covariance(measured_effect(axis, mean, rare, valid, patient))
    np.testing.assert_allclose(np.sqrt(np.diag(found)), np.sqrt(np.diag(plain)), atol=2.5)


def test_few_patients_or_single_slices_show_nothing():
    axis, *images, patient = cohort(patients=LEAST)
    assert measured_effect(axis, *images, patient)
    assert measured_effect(axis, *images, patient.clip(max=LEAST - 2)) == {}
    assert measured_effect(axis, *images, np.arange(len(patient))) == {}
    assert effect_of({}) is None


def test_a_level_that_no_pixel_has_shows_nothing():
    axis, mean, *rest = cohort(patients=LEAST)
    assert measured_effect(axis, np.minimum(mean, 30), *rest) == {}


@pytest.mark.parametrize("depth", [1, 4])
def test_draws_of_slices_and_of_volumes_have_the_spread_of_the_error(depth):
    """Errors of 40 HU that a patient's slices share, and of 60 HU in each voxel: 72 HU together.

    60 patients give the shared variance to 18 %, which is 3 % of the spread.
    """
    parts, rng, patients = Decomposition(UNet(), DataConfig()), np.random.default_rng(0), 60
    unit = float(parts.in_units(1.0) - parts.in_units(0.0))
    patient, shape = np.repeat(np.arange(patients), SLICES), (patients * SLICES, 16, 16, 1)
    levels = np.take(LEVELS, np.arange(256).reshape(16, 16) % len(LEVELS))
    mean = np.broadcast_to(np.asarray(parts.in_units(levels))[..., None], shape)
    shared = 40 * rng.normal(size=patients)[patient].reshape(-1, 1, 1, 1)
    error = unit * (shared + 60 * rng.normal(size=shape))
    ct = parts.data.ct_mean + parts.data.ct_std * (mean + error)
    drawn = np.stack([np.stack([mean, rng.normal(size=shape)], -1)[..., 0, :] for _ in range(2)])
    batch = Batch(0 * ct, ct, np.ones(shape), patient=patient)
    figures = measured(parts, drawn.astype(np.float32), batch) | {"mean_error": error.std()}
    params = validated(Params(None, None, jnp.ones(())), figures)
    params = params.of_depth(depth)
    keys = slice_keys(0, 0, jnp.zeros(400, int), jnp.arange(400))
    curves = drawn_curves(params.patient_effect, keys, depth).reshape(400 * depth, -1)
    one = jnp.broadcast_to(mean[0], (400 * depth, *mean[0].shape)).astype(jnp.float32)
    x = parts.ct(params, one, jax.random.normal(jax.random.key(0), one.shape), curves)
    spread = np.std((x - parts.data.ct_mean) / parts.data.ct_std - one) / unit
    assert spread == pytest.approx(error.std() / unit, rel=0.05)


def test_a_curve_is_linear_between_its_levels():
    hu = np.float32([-1000, -200, -145, -90, -30, 30, 150, 225, 300, 2000]).reshape(1, 2, 5, 1)
    curve = np.float32([[4, -2, 10, 30]])
    found = offsets(jnp.array(AXIS, float), hu, curve)
    expected = [0, 0, 2, 4, 1, -2, 10, 20, 30, 30]
    np.testing.assert_allclose(np.ravel(found), expected, atol=1e-4)


@pytest.fixture(scope="module")
def draws():
    """The offsets of draws by a solver and of the student, whose networks return 0, in HU."""
    config = Experiment(
        method="distilled",
        network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, groups=2),
        data=DataConfig(),
    )
    parts = Decomposition(UNet(channels=8, multipliers=(1,), blocks=1, groups=2), config.data)
    params = parts.untrained(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    unit = float(parts.in_units(1.0) - parts.in_units(0.0))
    effect = PatientEffect(jnp.asarray(FACTOR) * unit, jnp.zeros(len(LEVELS)))
    params = params._replace(scale=jnp.zeros(()), patient_effect=effect)

    def zeros(keys, sde, score, shape) -> Samples:
        return Samples(jnp.zeros(shape), jnp.ones(shape[0], int), jnp.ones(shape[0], bool))

    solver = drawn(parts, VPSDE(), lambda params, mean, mr: None, zeros, parts.ct)
    methods = {"solver": solver, "student": distilled(config, VPSDE(), parts.network).draw}

    def make(name: str, depth: int, params: Params = params) -> np.ndarray:
        """[draws, slices, pixels] at one HU of the regression."""
        keys = slice_keys(0, 0, jnp.zeros(400, int), jnp.arange(400))
        x = jax.jit(methods[name])(params, keys, jnp.zeros((400, depth, 8, 8, 1))).x
        x = np.asarray(x).reshape(400, depth, -1)
        return (x - config.data.ct_mean) / config.data.ct_std / unit

    return make, parts, params, unit


@pytest.mark.parametrize("name", ["solver", "student"])
def test_all_slices_of_a_draw_get_its_curve(draws, name):
    """Regressions return 0 in model units here; 400 draws give a deviation to 3.5 %."""
    make, parts, params, unit = draws
    volumes = make(name, 3)
    np.testing.assert_allclose(volumes, np.broadcast_to(volumes[:, :1, :1], volumes.shape))
    hu = (0.0 - float(parts.in_units(0.0))) / unit
    weights = [np.interp(hu, AXIS, hat) for hat in np.eye(len(AXIS))[1:]]
    expected = np.linalg.norm(np.array(weights) @ FACTOR)
    assert volumes[:, 0, 0].std() == pytest.approx(expected, rel=0.1)
    without = make(name, 3, params._replace(patient_effect=None))
    np.testing.assert_allclose(without, without[0, 0, 0], atol=1e-3)


def test_a_slice_drawn_alone_gets_none(draws):
    make, *_ = draws
    alone = make("solver", 1)
    np.testing.assert_allclose(alone, alone[0, 0, 0], atol=1e-3)
    assert not drawn_curves(None, slice_keys(0, 0, jnp.arange(2), jnp.arange(2)), 4).any()
