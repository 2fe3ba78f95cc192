"""Maps in HU that are no CT: what pydicom and highdicom read of them, and no planning system."""

import shutil

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import ParametricMapStorage

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.contents import CALIBRATED, MAPS
from sde_ct.volumes.dicom.identity import identity_of, new_identity
from sde_ct.volumes.dicom.parametric_map import write_map
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import Volume

from ..dicom_series import ACQUISITIONS, edit, patient_place, voxels, write_series
from .test_write import AFFINE, MR, SHEARED, judged

SPREAD = np.abs(voxels()) / np.float32(7)  # no whole HU


@pytest.fixture
def written(tmp_path):
    """Write the spread of an MR: its file, the MR and the folder of its CT series."""

    def write(axes="oblique", labels=MAPS["sct_std"], name="sct_std", **changes):
        folder = tmp_path / "mr"
        if not folder.exists():
            write_series(folder, MR, axes=ACQUISITIONS[axes])
        for path in folder.iterdir():
            edit(path, **changes)
        mr, identity = read_volume(folder, "a.u."), identity_of(open_series(folder))
        ct = tmp_path / "sct"
        if not ct.exists():
            write_ct_series(ct, mr.with_array(voxels(), "HU"), identity)
        file = tmp_path / f"{name}.dcm"
        return write_map(file, mr.with_array(SPREAD, "HU"), identity, ct, labels), mr, ct

    return write


@pytest.mark.parametrize("axes", ACQUISITIONS)
def test_highdicom_reads_the_numbers_in_hu_and_their_places(written, axes):
    file, mr, _ = written(axes)
    image = highdicom.imread(file)
    volume = image.get_volume(apply_real_world_transform=True, dtype=np.float32)
    # [slice, row, column], slices in the order that highdicom chooses.
    to_mr = np.linalg.inv(mr.affine) @ swap_lps_ras(volume.affine)
    place = to_mr @ np.array([*np.indices(volume.shape).reshape(3, -1), np.ones(SPREAD.size)])
    index = np.rint(place[:3]).astype(int)
    # Decimal strings of sixteen characters hold cosines and mm to 1e-9; this is in voxels.
    np.testing.assert_allclose(place[:3], index, atol=1e-6)
    np.testing.assert_array_equal(volume.array.ravel(), SPREAD[tuple(index)])
    (mapping,) = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    (unit,) = mapping.MeasurementUnitsCodeSequence
    assert (unit.CodingSchemeDesignator, unit.CodeValue) == ("UCUM", "[hnsf'U]")


def test_pydicom_reads_the_numbers_and_their_places_too(written):
    file, mr, _ = written()
    image = pydicom.dcmread(file)
    shared = image.SharedFunctionalGroupsSequence[0]
    for frame, plane in zip(image.PerFrameFunctionalGroupsSequence, image.pixel_array, strict=True):
        tags = pydicom.Dataset()
        tags.update(frame.PlanePositionSequence[0])
        tags.update(shared.PlaneOrientationSequence[0])
        tags.update(shared.PixelMeasuresSequence[0])
        x, y, z = patient_place(tags, column=9, row=2)
        index = np.rint(np.linalg.inv(mr.affine) @ [-x, -y, z, 1]).astype(int)[:3]
        assert plane[2, 9] == SPREAD[tuple(index)]


def test_it_is_no_ct_and_belongs_to_the_study(written, tmp_path):
    file, _, folder = written()
    image = pydicom.dcmread(file)
    slices = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert image.SOPClassUID == image.file_meta.MediaStorageSOPClassUID == ParametricMapStorage
    assert image.Modality != "CT" and "not a CT" in image.SeriesDescription
    assert "PixelData" not in image and image.BitsAllocated == 32
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "FrameOfReferenceUID"),
    ):
        assert image[keyword].value == slices[0][keyword].value
    assert image.SeriesInstanceUID != slices[0].SeriesInstanceUID
    referred = {item.ReferencedSOPInstanceUID for item in image.SourceImageSequence}
    assert referred == {one.SOPInstanceUID for one in slices}
    assert "Standard deviation over draws" in image.DerivationDescription
    assert judged("dciodvfy", [file]) == []
    files = [file, *folder.iterdir(), *(tmp_path / "mr").iterdir()]
    assert judged("dcentvfy", files) == []
    # Beside the MR it is passed over.
    shutil.copy(file, tmp_path / "mr")
    np.testing.assert_array_equal(read_volume(tmp_path / "mr", "a.u.").array, MR)


def test_the_same_map_is_the_same_file_and_another_has_other_uids(written):
    one, *_ = written()
    same, *_ = written(name="again")
    other, *_ = written(name="calibrated", labels=CALIBRATED)
    assert one.read_bytes() == same.read_bytes()
    read = [pydicom.dcmread(path) for path in (one, other)]
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
        assert read[0][keyword].value != read[1][keyword].value
    assert "scaled by tissue to the errors found" in read[1].DerivationDescription


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    "changes", [{"PatientSex": "MALE"}, {"StudyDate": ""}, {"SpecificCharacterSet": "ISO_IR 100"}]
)
def test_a_header_that_is_no_example_is_taken_as_it_is(written, changes):
    """highdicom refuses sexes and dates that the standard does not know; hospitals write them."""
    file, *_ = written(**changes)
    image = pydicom.dcmread(file)
    assert {keyword: image.get(keyword) for keyword in changes} == changes
    assert len(image.ContentDate) == 8


def test_an_mr_that_is_no_dicom_has_maps_too(tmp_path):
    volume = Volume(SPREAD, AFFINE, "HU")
    identity = new_identity(volume)
    ct = write_ct_series(tmp_path / "sct", volume, identity)
    for kind, labels in MAPS.items():
        image = pydicom.dcmread(write_map(tmp_path / f"{kind}.dcm", volume, identity, ct, labels))
        assert image.ContentLabel == labels.code and image.NumberOfFrames == SPREAD.shape[2]
        # AFFINE runs to LPS already; highdicom puts the uppermost frame first.
        np.testing.assert_array_equal(image.pixel_array[::-1].T, SPREAD)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    volume = Volume(SPREAD, AFFINE, "HU")
    identity = new_identity(volume)
    ct = write_ct_series(tmp_path / "sct", volume, identity)
    file, labels = tmp_path / "sct_std.dcm", MAPS["sct_std"]
    broken = {
        "not finite": volume.with_array(SPREAD * np.float32(np.nan)),
        "not lie on the MR's grid": Volume(SPREAD, SHEARED, "HU"),
    }
    for sentence, one in broken.items():
        with pytest.raises(InputError, match=sentence):
            write_map(file, one, identity, ct, labels)
    assert not file.exists() and {p.name for p in tmp_path.iterdir()} == {"sct"}
    write_map(file, volume, identity, ct, labels)
    with pytest.raises(InputError, match="exists: choose another output"):
        write_map(file, volume, identity, ct, labels)
