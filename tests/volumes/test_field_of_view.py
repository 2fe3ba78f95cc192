"""What was measured, told from what pads it."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.field_of_view import known, measured, moved
from sde_ct.volumes.lps import itk_image
from sde_ct.volumes.overlap import ct_body
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


@pytest.fixture(scope="module")
def long_patient():
    return pelvis_patient(3, shape=(48, 40, 14), spacing=(8.0, 8.0, 8.0))


def moved_by_itk(ct, slices, degrees, fill, order):
    """The CT as a scanner tilted by `degrees` measures `slices` of it, put back on its own grid as
    ANTs and elastix do, and where it was measured."""
    image = itk_image(np.asarray(ct.array, np.float32), ct.affine)
    tilt = sitk.Euler3DTransform()
    middle = [(n - 1) / 2 for n in ct.array.shape]
    tilt.SetCenter(image.TransformContinuousIndexToPhysicalPoint(middle))
    tilt.SetRotation(np.radians(degrees), 0, 0)
    linear, nearest = sitk.sitkLinear, sitk.sitkNearestNeighbor
    # Noisy air, also where the tilt reaches beyond the volume.
    scan = sitk.Resample(image, image, tilt, linear, -990.0)[:, :, slices]
    back = tilt.GetInverse()
    kind = {1: linear, 3: sitk.sitkBSpline}[order]
    found = sitk.Resample(scan, image, back, kind, float(fill))
    there = sitk.Resample(scan * 0 + 1, image, back, nearest, 0.0)
    array, there = (sitk.GetArrayFromImage(v).T for v in (found, there))
    return ct.with_array(array if order == 3 else array.round().astype(np.int16)), there > 0


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("degrees", [0, 2, 3.5, 6])
@pytest.mark.parametrize("fill", [0, 50, -1000, -1024, -2000])
@pytest.mark.parametrize("slices", [slice(3, 11), slice(0, 12)])
def test_what_a_registration_filled_is_found(long_patient, slices, fill, degrees, order):
    """8 or 12 of 14 slices were measured. Of them at most 0.1 % is lost in the body, voxels beside
    the fill that have its value by chance; of the rest at most 1 % is taken for measured, at its
    steps."""
    body = long_patient.mask.array > 0
    ct, there = moved_by_itk(long_patient.ct, slices, degrees, fill, order)
    for given in (None, long_patient.mask):
        found = measured(ct, given)
        assert (~found & there & body).sum() <= 0.001 * (there & body).sum()
        assert (found & ~there & body).sum() <= 0.01 * (~there & body).sum()
    assert not ct_body(ct).array[~there].any()


@pytest.mark.parametrize("degrees", [0, 4])
def test_a_fill_of_the_airs_own_value_is_found_by_the_body_of_the_mr(long_patient, degrees):
    """All air was set to -1024 HU, as in SynthRAD; the MR shows a body where the CT shows none.

    At a tilt an eighth may be missed where the plane leaves the body, less than 30 mm wide.
    """
    body = long_patient.mask.array > 0
    masked = long_patient.ct.with_array(np.where(body, long_patient.ct.array, -1024))
    filled, there = moved_by_itk(masked, slice(0, 8), degrees, -1024, 1)
    filled.array[filled.array < -900] = -1024
    found = measured(filled, long_patient.mask)
    assert (found & ~there & body).sum() <= (~there & body).sum() / 8
    assert (~found & there & body).sum() <= 0.001 * (there & body).sum()
    assert measured(filled).all()  # nothing tells without the MR
    assert measured(masked, long_patient.mask).all()


COMPLETE = {
    "as it is": lambda hu, body: hu,
    "bone clipped": lambda hu, body: np.minimum(hu, 300),
    "air clipped": lambda hu, body: np.maximum(hu, -1000),
    "clipped far": lambda hu, body: np.clip(hu, -500, 200),
    "an arm of clipped bone at an edge": lambda hu, body: np.where(
        np.hypot(*(np.indices(hu.shape)[:2] - np.array([0, 20]).reshape(2, 1, 1, 1))) < 6,
        300,
        np.minimum(hu, 300),
    ),
    "masked": lambda hu, body: np.where(body, hu, -1000),
    "three values": lambda hu, body: np.select([hu > 200, body], [800, 30], -1000),
    "water": lambda hu, body: np.where(body, 0, -1000),
    "a block of water at an edge": lambda hu, body: np.where(
        (np.indices(hu.shape)[:2] < 20).all(axis=0), 0, -1000
    ),
}


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_ct_loses_nothing(long_patient, name):
    body = long_patient.mask.array > 0
    ct = long_patient.ct.with_array(COMPLETE[name](long_patient.ct.array, body))
    # Masks lie outside the skin.
    wide = ndimage.binary_dilation(ct_body(ct).array, np.ones((3, 3, 1))).astype(np.uint8)
    for given in (None, long_patient.mask.with_array(wide)):
        assert measured(ct, given).all()
