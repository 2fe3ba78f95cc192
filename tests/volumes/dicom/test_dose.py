"""RTDOSE files, made from the standard alone, read with every voxel in its place."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.dose import read_rtdose

from ..dicom_series import ACQUISITIONS, ROOT, edit, save

SCALING = 2e-4  # Gy
DOSE = SCALING * np.random.default_rng(0).integers(0, 40000, (6, 5, 4))  # column, row, frame
ORIGIN, SPACING = (-31.5, 12.25, -140.0), (2.0, 2.5, 3.0)


def write_dose(path, axes=ACQUISITIONS["axial"], offsets=None):
    """`offsets`: of the frames, as GridFrameOffsetVector has them."""
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.481.2", f"{ROOT}.9"
    image.Modality, image.DoseUnits, image.DoseType = "RTDOSE", "GY", "PHYSICAL"
    image.Columns, image.Rows, image.NumberOfFrames = DOSE.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation, image.DoseGridScaling = 0, SCALING
    image.PixelSpacing = [SPACING[1], SPACING[0]]
    image.ImagePositionPatient = list(ORIGIN)
    image.ImageOrientationPatient = [f"{v:.10g}" for v in np.ravel(axes)]
    steps = SPACING[2] * np.arange(DOSE.shape[2])
    image.GridFrameOffsetVector = list(steps if offsets is None else offsets)
    image.PixelData = np.rint(DOSE / SCALING).T.astype("<u2").tobytes()
    save(image, path)
    return path


@pytest.mark.parametrize("name", ["axial", "sagittal", "oblique", "prone"])
def test_dose_and_place_follow_from_the_tags(tmp_path, name):
    axes = ACQUISITIONS[name]
    read = read_rtdose(write_dose(tmp_path / "RD.dcm", axes))
    np.testing.assert_allclose(read.array, DOSE, rtol=1e-6)
    normal = np.cross(*axes)
    place = np.array(ORIGIN) + 5 * 2.0 * np.array(axes[0]) + 2 * 2.5 * np.array(axes[1])
    x, y, z = place + 3 * 3.0 * normal  # the last frame
    np.testing.assert_allclose((read.affine @ [5, 2, 3, 1])[:3], [-x, -y, z], atol=1e-6)


def test_offsets_may_be_places_along_z_and_run_downwards(tmp_path):
    places = -140.0 - 3.0 * np.arange(4)
    read = read_rtdose(write_dose(tmp_path / "RD.dcm", offsets=places))
    assert (read.affine @ [0, 0, 3, 1])[2] == pytest.approx(-149)


REFUSED = {
    "plan": ({"Modality": "RTPLAN"}, "is not an RTDOSE"),
    "relative": ({"DoseUnits": "RELATIVE"}, "is in RELATIVE: export the dose in Gy"),
    "no modality": ({"Modality": ""}, "lacks Modality: export the dose again"),
    "no voxels": ({"PixelData": b""}, "lacks PixelData"),
    "one frame": ({"GridFrameOffsetVector": [0.0]}, "is damaged or not DICOM"),
    "uneven": ({"GridFrameOffsetVector": [0.0, 3, 6, 12]}, "frames that are not evenly spaced"),
    "cut": ({"PixelData": b"1234"}, "is damaged or not DICOM"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_dose_is_one_sentence(tmp_path, name):
    changes, sentence = REFUSED[name]
    edit(write_dose(tmp_path / "RD.dcm"), **changes)
    assert pydicom.dcmread(tmp_path / "RD.dcm")
    with pytest.raises(InputError, match=sentence) as error:
        read_rtdose(tmp_path / "RD.dcm")
    assert "\n" not in str(error.value)


NEEDED = """Modality DoseUnits DoseGridScaling GridFrameOffsetVector NumberOfFrames Rows Columns
ImagePositionPatient ImageOrientationPatient PixelSpacing BitsAllocated BitsStored
PixelRepresentation SamplesPerPixel PhotometricInterpretation PixelData"""


@pytest.mark.parametrize("keyword", NEEDED.split())
def test_a_tag_that_is_lacking_is_named(tmp_path, keyword):
    path = write_dose(tmp_path / "RD.dcm")
    image = pydicom.dcmread(path)
    del image[keyword]
    image.save_as(path)
    with pytest.raises(InputError, match=f"RD.dcm lacks {keyword}: export the dose again"):
        read_rtdose(path)


def test_without_any_one_tag_the_dose_is_the_same_or_the_tag_is_named(tmp_path):
    path = write_dose(tmp_path / "RD.dcm")
    whole = read_rtdose(path)
    for keyword in [element.keyword for element in pydicom.dcmread(path)]:
        image = pydicom.dcmread(write_dose(path))
        del image[keyword]
        image.save_as(path)
        try:
            np.testing.assert_array_equal(read_rtdose(path).array, whole.array)
        except InputError as error:
            assert f"lacks {keyword}" in str(error), keyword
