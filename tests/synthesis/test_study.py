"""A NIfTI that was made from a DICOM series gets a CT series in that series' study."""

import re

import nibabel as nib
import numpy as np
import pydicom
import pytest

from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume, reordered

from ..programs import call
from ..volumes.dicom_series import ACQUISITIONS, ROOT, write_series
from .test_dicom_synthesize import SPACING, mr_voxels, synthesize

# Files hold 1e-9 mm in DICOM and float32 in NIfTI; a voxel in another place is 9 mm off.
ROUNDING_MM = 1e-6


@pytest.fixture
def study(request, tmp_path):
    """An MR series in a folder of its own, oblique unless a test asks otherwise."""
    axes = ACQUISITIONS[getattr(request, "param", "oblique")]
    return write_series(tmp_path / "pelvis t2", mr_voxels(), axes=axes, spacing=SPACING)


def cut(mr, *slices):
    """A part of the voxels, or all in another order, in the same place."""
    image = nib.Nifti1Image(mr.array, mr.affine).slicer[slices]
    return Volume(np.asarray(image.dataobj), image.affine, mr.unit)


def moved(mr, *mm):
    shift = np.eye(4)
    shift[:3, 3] = mm
    return Volume(mr.array, shift @ mr.affine, mr.unit)


def tags_of(out):
    folder = out / "dicom" / "mine" / "sct"
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def references(images):
    return [i.SourceImageSequence[0].ReferencedSOPInstanceUID for i in images]


@pytest.mark.parametrize("study", ["oblique", "sagittal"], indirect=True)
def test_a_nifti_with_flipped_rows_joins_the_study_of_its_series(runs, study, tmp_path):
    mr, out = read_volume(study, "a.u."), tmp_path / "out"
    flipped = cut(mr, slice(None), slice(16, None, -1), slice(None))
    write_volume(tmp_path / "mine.nii.gz", flipped)
    done = synthesize(runs("cnn"), tmp_path / "mine.nii.gz", out, "--dicom", f"--study={study}")
    assert "MR is not DICOM" not in done.out and "resampled" not in done.out
    images, slices = tags_of(out), open_series(study).slices
    for image, original in zip(images, sorted(study.iterdir()), strict=True):
        source = pydicom.dcmread(original)
        assert image.Modality == "CT" and image.PatientID == "J-17"
        assert image.StudyInstanceUID == f"{ROOT}.100" and image.StudyDate == "20200304"
        assert image.FrameOfReferenceUID == f"{ROOT}.200" and image.PatientPosition == "FFS"
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            np.testing.assert_allclose(
                image[keyword].value, source[keyword].value, rtol=0, atol=ROUNDING_MM
            )
    assert references(images) == [one.sop[1] for one in slices]
    written = read_volume(out / "sct" / "mine.nii.gz", "HU")
    np.testing.assert_allclose(written.affine, flipped.affine, rtol=0, atol=1e-4)
    ct = read_volume(out / "dicom" / "mine" / "sct", "HU")
    np.testing.assert_array_equal(reordered(written, ct.affine).array, ct.array)
    assert "J-17" not in (out / "mine.json").read_text()


def test_a_part_of_the_series_refers_to_the_slices_it_was_cut_from(runs, study, tmp_path):
    mr, out = read_volume(study, "a.u."), tmp_path / "out"
    part = cut(mr, slice(2, 21), slice(1, 16), slice(5, 1, -1))
    write_volume(tmp_path / "mine.nii.gz", part)
    one = next(study.iterdir())  # one file of the series stands for all
    synthesize(runs("cnn"), tmp_path / "mine.nii.gz", out, "--dicom", f"--study={one}")
    images = tags_of(out)
    assert references(images) == [s.sop[1] for s in open_series(study).slices[2:6]]
    corner = (mr.affine @ [2, 1, 2, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(images[0].ImagePositionPatient, corner, rtol=0, atol=ROUNDING_MM)


def test_a_resampled_mr_within_the_series_keeps_its_own_grid_and_says_so(runs, study, tmp_path):
    mr, out = read_volume(study, "a.u."), tmp_path / "out"
    finer = np.diag([0.5, 0.5, 1, 1])
    finer[:2, 3] = -0.25  # the edges of the outermost voxels coincide
    array = mr.array.repeat(2, axis=0).repeat(2, axis=1)
    write_volume(tmp_path / "mine.nii.gz", Volume(array, mr.affine @ finer, "a.u."))
    done = synthesize(runs("cnn"), tmp_path / "mine.nii.gz", out, "--dicom", f"--study={study}")
    assert "note: The MR lies within the series given as --study, but was resampled" in done.out
    images = tags_of(out)
    assert {i.FrameOfReferenceUID for i in images} == {f"{ROOT}.200"}
    assert not any("SourceImageSequence" in i for i in images)
    np.testing.assert_allclose(images[0].PixelSpacing, [8.5, 7.0], atol=ROUNDING_MM)


REFUSED = {
    "elsewhere": (["--dicom"], "does not lie within .*in t2 but reaches .*30 mm"),
    "without DICOM": ([], "--study affects only DICOM outputs: add --dicom"),
    "two MRs": (["--dicom", "--mr={mr}"], "--study is for one MR: give one --mr, not 2"),
    "a NIfTI": (["--dicom", "--study={mr}"], r"mr.nii.gz is not DICOM: give the folder of the MR"),
    "a CT": (["--dicom", "--study={ct}"], "holds a series of CT: give one of MR"),
    "a DICOM MR": (["--dicom", "--mr={study}"], "is DICOM with its own study: leave out --study"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_study_that_is_not_of_the_mr_is_refused(runs, tmp_path, case):
    study = write_series(tmp_path / "in t2", mr_voxels(), spacing=SPACING)
    ct = write_series(tmp_path / "ct", mr_voxels(), spacing=SPACING, modality="CT")
    mr = read_volume(study, "a.u.")
    write_volume(tmp_path / "mine.nii.gz", moved(mr, 30, 0, 0))
    write_volume(tmp_path / "folder" / "mr.nii.gz", mr)
    flags, sentence = REFUSED[case]
    places = {"mr": tmp_path / "folder" / "mr.nii.gz", "ct": ct, "study": study}
    given = [f"--workdir={runs('cnn')}", f"--study={study}", f"--output={tmp_path / 'out'}"]
    if case != "a DICOM MR":
        given.append(f"--mr={tmp_path / 'mine.nii.gz'}")
    error = call("synthesize", *given, *(flag.format(**places) for flag in flags)).error
    assert re.search(sentence, error), error
    assert not (tmp_path / "out").exists()
