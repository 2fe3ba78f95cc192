"""What was measured, told from what pads it."""

import numpy as np
import pytest

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.field_of_view import known, measured, moved
from sde_ct.volumes.volume import Volume


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(3, shape=(48, 40, 6), spacing=(8.0, 8.0, 12.0))


@pytest.fixture(scope="module")
def disc(patient):
    """A field of view that cuts the body left and right."""
    x, y, _ = np.indices(patient.ct.array.shape)
    return (x - 23.5) ** 2 + (y - 19.5) ** 2 <= 19.5**2


def test_padding_is_unknown_and_the_dark_inside_is_not(patient, disc):
    hu = np.where(disc, patient.ct.array, -2000)
    hu[20:24, 18:21, 2] = -2000  # a metal's shadow, say: not joined to a corner
    np.testing.assert_array_equal(known(patient.ct.with_array(hu)), disc)
    assert known(patient.ct).all()  # noisy air up to the corners


@pytest.mark.parametrize("padding", [-2000, -1024])
def test_a_field_of_view_is_found_by_its_padding(patient, disc, padding):
    """-1024 HU may be air, but here air has other values."""
    hu = np.where(disc, np.maximum(patient.ct.array, -1023), padding)
    np.testing.assert_array_equal(measured(patient.ct.with_array(hu)), disc)


@pytest.mark.parametrize("lowest", [-900, -850])
def test_air_that_was_set_to_one_value_is_measured(patient, lowest):
    """As in CTs that were masked or cut off below: their air is no padding."""
    inside = patient.mask.array > 0
    for hu in (
        np.where(inside, patient.ct.array, -1024),
        np.where(patient.ct.array < lowest, -1024, patient.ct.array),
    ):
        assert not known(patient.ct.with_array(hu)).all()
        assert measured(patient.ct.with_array(hu)).all()


@pytest.mark.parametrize("mean", [-1024, -1031, -1040])
def test_noise_of_air_that_was_cut_off_is_measured(patient, mean):
    """As where 12 bits end: half, three quarters or nine tenths of the air are at -1024 HU."""
    noise = np.random.default_rng(0).normal(mean, 11, patient.ct.array.shape)
    hu = np.where(patient.ct.array < -900, np.maximum(noise.round(), -1024), patient.ct.array)
    assert measured(patient.ct.with_array(hu)).all()


def test_on_another_grid_nothing_unseen_is_mixed_in():
    """A voxel half-way between a seen and an unseen one is a mixture of both."""
    seen = np.ones((6, 5, 4), bool)
    seen[4:] = False
    volume, like = Volume(np.zeros((6, 5, 4)), np.eye(4), "HU"), np.eye(4)
    like[0, 3] = -0.5  # half a voxel towards what lies before the first
    found = moved(seen, volume, Volume(np.zeros((8, 5, 4)), like, "HU"))
    np.testing.assert_array_equal(found[:, 2, 1], [1, 1, 1, 1, 0, 0, 0, 0])
