"""A marker phantom: one bright voxel off every axis keeps its place in the patient.

The place is what DICOM's own equation gives for the tags of the file that holds the voxel. Read
or written, it must agree to 0.01 mm: tags are decimals of ten digits or more, so that only a wrong
convention can differ, and any such error is of the order of a voxel (0.8 mm) at the least.
"""

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sde_ct.volumes.dicom.identity import identity_of, new_identity
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Volume

from ..dicom_series import ACQUISITIONS, SHAPE, SPACING, patient_place, write_series

MARKER = (9, 2, 5)  # column, row, slice
CLOSE = 0.01  # mm
AIR, BRIGHT = -1000, 1234


def phantom() -> np.ndarray:
    array = np.full(SHAPE, AIR, np.int16)
    array[MARKER] = BRIGHT
    return array


def place_by_tags(folder) -> np.ndarray:
    """LPS mm of the marker in a folder, by pydicom and the standard's equation."""
    found = []
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        for row, column in np.argwhere(image.pixel_array == BRIGHT):
            found.append(patient_place(image, column, row))
    assert len(found) == 1
    return found[0]


def place_by_itk(folder) -> np.ndarray:
    """LPS mm of the marker in a folder, by SimpleITK, which reads DICOM with GDCM."""
    image = read_itk(folder)
    index = np.argwhere(sitk.GetArrayFromImage(image) == BRIGHT)
    assert len(index) == 1
    return np.array(image.TransformIndexToPhysicalPoint([int(i) for i in index[0][::-1]]))


def read_itk(folder) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def place_in_volume(volume) -> np.ndarray:
    """The marker's LPS mm from a volume, whose affine leads to RAS."""
    index = np.argwhere(volume.array == BRIGHT)
    assert len(index) == 1
    right, front, up = (volume.affine @ [*index[0], 1])[:3]
    return np.array([-right, -front, up])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", ACQUISITIONS)
def test_reading_and_writing_keep_the_marker_in_its_place(tmp_path, name, backwards):
    axes = ACQUISITIONS[name]
    folder = write_series(tmp_path / "mr", phantom(), axes=axes, backwards=backwards)
    truth = place_by_tags(folder)
    mr = read_volume(folder, "a.u.")
    np.testing.assert_allclose(place_in_volume(mr), truth, rtol=0, atol=CLOSE)
    np.testing.assert_allclose(place_by_itk(folder), truth, rtol=0, atol=CLOSE)
    identity = identity_of(open_series(folder))
    written = write_ct_series(tmp_path / "ct", mr.with_array(mr.array, "HU"), identity)
    for place in (
        place_by_tags(written),
        place_by_itk(written),
        place_in_volume(read_volume(written, "HU")),
    ):
        np.testing.assert_allclose(place, truth, rtol=0, atol=CLOSE)


# Files are slow to write: a failure is told as it was found.
@settings(deadline=None, max_examples=25, phases=[Phase.generate])
@given(
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_any_volume_written_lies_where_it_lay(tmp_path_factory, order, signs, turns, origin):
    """NIfTI files come with axes in any order, mirrored (left-handed) ones too."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(*turns) @ np.diag(signs)[:, order] @ np.diag(SPACING)
    affine[:3, 3] = origin
    volume = Volume(phantom(), affine, "HU")
    folder = tmp_path_factory.mktemp("out") / "ct"
    write_ct_series(folder, volume, new_identity(volume))
    truth = place_in_volume(volume)
    for place in (
        place_by_tags(folder),
        place_by_itk(folder),
        place_in_volume(read_volume(folder, "HU")),
    ):
        np.testing.assert_allclose(place, truth, rtol=0, atol=CLOSE)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    c, s = np.cos([x, y, z]), np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
    about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
    about_z = np.array([[c[2], -s[2], 0], [s[2], c[2], 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
