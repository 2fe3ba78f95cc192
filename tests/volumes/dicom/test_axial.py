"""Straight axial slices of a tilted volume, for planning systems that refuse tilted ones."""

import numpy as np
import pytest

from sde_ct.volumes.dicom.axial import OUTSIDE_HU, on_axial_slices
from sde_ct.volumes.dicom.identity import identity_of, new_identity
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.stack import slice_notes
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Volume, left_posterior_superior, same_grid

from ..dicom_series import ACQUISITIONS, voxels, write_series
from .test_write import AFFINE, MR, images


def tilted(degrees: float) -> Volume:
    """AFFINE turned about the axis from left to right."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
    return Volume(voxels(), turn @ AFFINE, "HU")


@pytest.mark.parametrize(
    ("degrees", "is_axial"), [(0, True), (0.9, True), (1.1, False), (30, False)]
)
def test_slices_tilted_by_a_degree_are_not_called_axial_and_a_note_says_so(
    tmp_path, degrees, is_axial
):
    volume = tilted(degrees)
    identity = new_identity(volume)
    image = images(write_ct_series(tmp_path / "sct", volume, identity))[0]
    assert ("AXIAL" in image.ImageType) == is_axial
    notes = [note for note in slice_notes(identity) if "turned" in note]
    assert len(notes) == (not is_axial)
    assert all(f"turned by {degrees:.1f} degrees" in n and "--dicom_axial" in n for n in notes)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_axial_slices_hold_the_same_values_at_the_same_places(name, tmp_path):
    """A linear ramp, which linear interpolation keeps; 0.51 HU for the rounding to whole ones."""
    folder = write_series(tmp_path / "mr", MR, axes=ACQUISITIONS[name])
    mr = read_volume(folder, "a.u.")

    def ramp(affine, shape):
        points = np.array([*np.indices(shape).reshape(3, -1), np.ones(np.prod(shape))])
        return (np.array([3.0, -5.0, 7.0, 1500.0]) @ affine @ points).reshape(shape)

    hu = mr.with_array(ramp(mr.affine, mr.array.shape), "HU")
    straight = on_axial_slices(hu)
    identity = identity_of(open_series(folder)).at(straight.affine)
    written = images(write_ct_series(tmp_path / "axial", straight, identity))
    assert all(list(i.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0] for i in written)
    assert all(i.PixelSpacing[0] == i.PixelSpacing[1] and "AXIAL" in i.ImageType for i in written)
    assert {i.FrameOfReferenceUID for i in written} == {identity.header.FrameOfReferenceUID}
    back = open_series(tmp_path / "axial")
    array = back.read()
    points = np.array([*np.indices(array.shape).reshape(3, -1), np.ones(array.size)])
    index = (np.linalg.inv(mr.affine) @ back.affine @ points)[:3]
    ends = np.array(mr.array.shape)[:, None] - 1
    # Between the centres of the outermost voxels; in the half voxel beyond, the nearest is taken.
    between = ((index > -1e-6) & (index < ends + 1e-6)).all(axis=0).reshape(array.shape)
    assert between.mean() > 0.15  # of a tilted volume, the grid has much more
    expected = ramp(back.affine, array.shape)
    np.testing.assert_allclose(array[between], expected[between], atol=0.51)
    beyond = ((index < -0.51) | (index > ends + 0.51)).any(axis=0).reshape(array.shape)
    assert (array[beyond] == OUTSIDE_HU).all() and beyond.any() == (name == "oblique")


def test_what_lies_straight_already_is_left_as_it_is():
    volume = Volume(voxels(), AFFINE, "HU")
    straight = on_axial_slices(volume)
    assert same_grid(straight, left_posterior_superior(volume))
    np.testing.assert_array_equal(straight.array, left_posterior_superior(volume).array)
