"""The files of one patient: changes in them are noticed, faults are that patient's alone."""

import json
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import Patterns, find_cases

from ...volumes.dicom_series import write_series
from ..conftest import patient


def as_metaimage(folder, files):
    for kind in ("mr", "ct"):
        image = sitk.GetImageFromArray(np.ascontiguousarray(files[kind].T))
        sitk.WriteImage(image, str(folder / f"{kind}.mhd"))
    return Patterns("mr.mhd", "ct.mhd"), folder / "ct.raw"


def as_mixed_dicom(folder, files):
    for number, kind in enumerate(("mr", "ct")):
        array = files[kind].astype("i2")
        write_series(
            folder, array, modality=kind.upper(), spacing=(16, 16, 16), number=number, prefix=kind
        )
    return Patterns("mr001.dcm", "ct001.dcm"), folder / "ct004.dcm"


@pytest.mark.parametrize("write", [as_metaimage, as_mixed_dicom])
def test_a_change_in_a_file_that_goes_with_the_named_one_is_seen(tmp_path, write):
    folder = tmp_path / "in" / "p"
    folder.mkdir(parents=True)
    patterns, beside = write(folder, patient())
    (case,) = find_cases("pairs", folder, patterns)

    def run():
        lines = []
        split = {"train": ("p",)}
        data = prepare([case], tmp_path / "d", source="pairs", split=split, report=lines.append)
        digest = json.loads((tmp_path / "d" / "dataset.json").read_text())["cases"]["p"]["sha256"]
        return data.cases["p"].load("ct").max(), digest, "(kept)" in lines[0]

    before, again = run(), run()
    assert before[:2] == again[:2] and (before[2], again[2]) == (False, True)
    stored = beside.read_bytes()
    changed = np.frombuffer(stored[-120:], "<i2") + np.int16(100)
    beside.write_bytes(stored[:-120] + changed.tobytes())
    after = run()
    assert not after[2]
    assert after[1]["ct"] != before[1]["ct"] and after[1]["mr"] == before[1]["mr"]


def test_a_ct_in_another_order_of_voxels_is_prepared_as_it_is(tmp_path):
    """As dcm2niix flips the rows of an MR beside a DICOM CT: no HU changes, nothing is resampled.

    The mask is stored with its slices first.
    """
    files, folder = patient(), tmp_path / "in" / "p"
    affine = np.diag([-1.2, -1.2, 3.0, 1.0])
    for kind, array in files.items():
        image = nib.Nifti1Image(array, affine)
        if kind == "mr":
            image = image.as_reoriented([[0, 1], [1, -1], [2, 1]])
        if kind == "mask":
            image = image.as_reoriented([[1, 1], [2, 1], [0, -1]])
        folder.mkdir(parents=True, exist_ok=True)
        nib.save(image, folder / f"{kind}.nii.gz")
    split = {"train": ("p",)}
    cases = find_cases("pairs", tmp_path / "in", Patterns(mask="mask*"))
    case = prepare(cases, tmp_path / "d", source="pairs", split=split).cases["p"]
    np.testing.assert_array_equal(case.volume("ct").array, files["ct"][:, ::-1])
    np.testing.assert_array_equal(case.volume("mask").array, files["mask"][:, ::-1])
    hu = case.load("ct")[case.load("valid") > 0]
    assert (hu.min(), hu.max()) == (files["ct"].min(), files["ct"].max())


def test_a_file_that_is_gone_refuses_its_patient_alone(cohort, tmp_path):
    """Between the search and the reading; and a link to nowhere among slices is no file at all."""
    folder = cohort / "Task1" / "pelvis"
    cases = find_cases("synthrad2023", cohort, Patterns())
    (folder / "1PA001" / "ct.nii.gz").unlink()
    as_mixed_dicom(tmp_path / "p", patient(seed=9))
    (tmp_path / "p" / "ct009.dcm").symlink_to(tmp_path / "nowhere.dcm")
    cases += find_cases("pairs", tmp_path / "p", Patterns("mr001.dcm", "ct001.dcm"))
    split = {"train": tuple(case.id for case in cases)}
    data = prepare(cases, tmp_path / "d", source="s", split=split, size=(20, 20))
    assert sorted(data.cases) == ["1PA000", "1PA002", "1PA003", "1PA004", "p"]
    refused = json.loads((tmp_path / "d" / "report.json").read_text())["refused"]
    assert "1PA001/ct.nii.gz does not exist" in refused["1PA001"]


class Locked(NamedTuple):
    """A patient whose folder the system does not let us read."""

    id: str

    def stamp(self):
        raise PermissionError(13, "Permission denied", "/there/mr.nii")

    def clean(self, text):
        return text


def test_what_the_system_does_not_let_us_read_refuses_its_patient_alone(cohort, tmp_path):
    cases = [*find_cases("synthrad2023", cohort, Patterns()), Locked("x")]
    split = {"train": tuple(case.id for case in cases)}
    data = prepare(cases, tmp_path / "d", source="s", split=split)
    refused = json.loads((tmp_path / "d" / "report.json").read_text())["refused"]
    assert len(data.cases) == 5
    assert refused == {"x": "/there/mr.nii cannot be read (Permission denied): check the file"}
