"""Volumes whose slices have correlated noise are one sample each."""

import dataclasses

import jax
import numpy as np
import pytest

from sde_ct.data.through_plane import factor
from sde_ct.synthesis import Synthesizer, load
from sde_ct.volumes.volume import Volume

LENGTHS = [20.0] * 5  # mm; of one frequency like the others, so that the correlation is known


@pytest.fixture(scope="module")
def trained(runs):
    return load(runs("diffusion"))


@pytest.fixture(scope="module")
def mr():
    """Tissue that grows brighter to one side, around a dark core, in noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (23, 17, 7)), indexing="ij")
    radius = x**2 + y**2 + 0.2 * z**2
    array = np.where(radius < 0.1, 40.0, np.where(radius < 0.8, 300.0 + 60 * x, 5.0))
    array += np.random.default_rng(0).uniform(0, 5, array.shape)
    return Volume(array.astype(np.float32), np.diag([14.0, 17.0, 4.0, 1.0]), "a.u.")


@pytest.fixture(scope="module")
def correlated(trained):
    sampling = dataclasses.replace(trained.config.sampling, correlated_noise=True, em_steps=16)
    config = dataclasses.replace(trained.config, sampling=sampling)
    return trained._replace(config=config, data=trained.data | {"along_z_mm": LENGTHS})


def drawn(trained, mr, devices: int, **options) -> np.ndarray:
    synthesize = Synthesizer(trained, "em", jax.devices()[:devices], **options)
    return np.stack([d.array for d in synthesize(mr, case="knee", draws=3).draws]).astype(float)


def test_draws_depend_neither_on_devices_nor_on_the_batch(correlated, mr):
    alone = drawn(correlated, mr, 1, batch=1)
    # 1 HU: float32 sums of a network in another order, rounded to whole HU
    np.testing.assert_allclose(drawn(correlated, mr, 4), alone, atol=1.0)
    np.testing.assert_allclose(drawn(correlated, mr, 1, batch=32), alone, atol=1.0)
    assert np.abs(alone[0] - alone[1]).max() > 10


@pytest.mark.slow
def test_draws_of_related_slices_depend_neither_on_devices_nor_on_the_batch(runs, mr):
    joint = load(runs("joint"))
    alone = drawn(joint, mr, 1, batch=1)
    np.testing.assert_allclose(drawn(joint, mr, 2, batch=16), alone, atol=1.0)  # as above
    assert np.abs(alone[0] - alone[1]).max() > 10


@pytest.mark.parametrize(("method", "depth"), [("diffusion", 16), ("joint", 9)])
def test_only_slices_drawn_by_themselves_get_copies_of_the_last(method, depth, runs, correlated):
    """Copies would be seen by the slices before them, like slices that no training had."""
    synthesize = Synthesizer(load(runs("joint")) if method == "joint" else correlated, "em")
    volumes, along_z = synthesize._stacked(np.zeros((9, 4, 4, 1), np.float32), 4.0)
    assert volumes.shape[1] == depth == along_z.shape[-1]


@pytest.mark.parametrize("lengths", [LENGTHS, 20.0])
def test_slices_of_one_mr_are_as_alike_as_their_noise(lengths, correlated, mr):
    """Networks of earlier versions have one length for all frequencies."""
    correlated = correlated._replace(data=correlated.data | {"along_z_mm": lengths})
    same = mr.with_array(np.repeat(mr.array[..., 3:4], 12, axis=2))  # 12 is no multiple of 8
    draws = drawn(correlated, same, 1)
    assert draws.shape[-1] == 12
    spread = (draws - draws.mean(0)).transpose(3, 0, 1, 2).reshape(12, -1)
    inside = np.abs(spread).max(axis=0) > 1
    found = np.corrcoef(spread[:, inside])
    expected = factor(20.0, float(mr.spacing[2]), 12)
    # An untrained network is nearly linear in the noise; clipping at the ends of the HU range
    # lowers correlations a little.
    np.testing.assert_allclose(found, expected @ expected.T, atol=0.1)


def test_networks_that_know_no_correlation_draw_slices_apart(correlated, trained, mr):
    unknown = correlated._replace(data=correlated.data | {"along_z_mm": None})
    config = dataclasses.replace(
        trained.config, sampling=dataclasses.replace(trained.config.sampling, em_steps=16)
    )
    apart = drawn(trained._replace(config=config), mr, 1)
    np.testing.assert_array_equal(drawn(unknown, mr, 1), apart)
