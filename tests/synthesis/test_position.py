"""MRs of patients that lay, or were acquired, otherwise than those of the training."""

import json
import shutil

import numpy as np
import pytest

from sde_ct.acceptance import reference
from sde_ct.acceptance.fit import fit
from sde_ct.data import seen
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.synthesis import load
from sde_ct.synthesis.acceptance import Measurer, settings
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import left_posterior_superior

from .. import tiny
from ..programs import call
from ..volumes.dicom_series import write_series


def as_dicom(patient, folder, position, field=1.5):
    """The MR on disk as a scanner writes it: of a prone patient, with rows and columns reversed."""
    mr = left_posterior_superior(patient.mr)
    array, affine = np.rint(mr.array).astype(np.int16), mr.affine
    if position == "HFP":
        array, back = array[::-1, ::-1], np.diag([-1.0, -1.0, 1.0, 1.0])
        back[:2, 3] = np.array(array.shape[:2]) - 1
        affine = affine @ back
    lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3]
    return write_series(
        folder, array, axes=(lps[:, :2] / mr.spacing[:2]).T, spacing=tuple(mr.spacing),
        origin=lps[:, 3], PatientPosition=position, MagneticFieldStrength=field,
    )  # fmt: skip


@pytest.fixture(scope="module")
def patient():
    return pelvis_patient(3, **tiny.PHANTOM)


@pytest.fixture(scope="module")
def workdir(patient, tmp_path_factory):
    """A CNN of one supine patient in DICOM."""
    root = tmp_path_factory.mktemp("supine")
    as_dicom(patient, root / "in" / "P1" / "mr", "HFS")
    write_volume(root / "in" / "P1" / "ct.nii.gz", patient.ct)
    cases = find_cases("pairs", root / "in", Patterns("mr", "ct*", ""))
    data = prepare(
        cases, root / "data", source="pairs", split={"train": ("P1",), "validation": (), "test": ()}
    )
    tiny.train(tiny.experiment("cnn", steps=12), data, root / "run", devices=1)
    return root / "run"


def synthesize(workdir, mr, output):
    done = call("synthesize", f"--workdir={workdir}", f"--mr={mr}", f"--output={output}")
    assert done.status == 0, done.err
    return done.err, json.loads((output / f"{mr.name}.json").read_text())["warnings"]


def test_a_prone_mr_is_named_and_its_ct_is_the_supine_ones(workdir, patient, tmp_path):
    """The same anatomy, stored in the order in which scanners store supine and prone patients."""
    found = {}
    for position in ("HFS", "HFP"):
        mr = as_dicom(patient, tmp_path / position, position)
        said, warnings = synthesize(workdir, mr, tmp_path / "out")
        named = [
            text for text in warnings if "position is HFP; the network was trained on HFS" in text
        ]
        assert len(named) == (position == "HFP") and all(text in said for text in named)
        ct = read_volume(tmp_path / "out" / "sct" / f"{position}.nii.gz", "HU")
        found[position] = left_posterior_superior(ct)
    np.testing.assert_array_equal(found["HFP"].array, found["HFS"].array)
    # DICOM holds positions with ten digits, NIfTI with float32's seven.
    np.testing.assert_allclose(found["HFP"].affine, found["HFS"].affine, atol=1e-3)


def test_an_mr_of_another_field_strength_is_named(workdir, patient, tmp_path):
    mr = as_dicom(patient, tmp_path / "three", "HFS", field=3)
    said, warnings = synthesize(workdir, mr, tmp_path / "out")
    sentence = "The field strength is 3 T; the network was trained on 1.5 T."
    assert warnings.count(sentence) == 1 and sentence in said


def test_unknown_positions_are_not_judged_and_feet_first_is_no_other():
    trained = {"positions": seen.positions([{"patient_position": "HFS"}, {}])}
    assert trained == {"positions": ["HFS"]}
    assert seen.position_warning(trained, "FFS") is None
    assert seen.position_warning(trained, None) is None
    assert seen.position_warning({"positions": []}, "HFP") is None
    for older in (None, {"figures": {}}):
        assert seen.position_warning(older, "HFP") is None
    assert "is HFDR" in seen.position_warning(trained, "HFDR")


def test_a_header_unlike_the_training_is_the_first_reason_of_a_review(workdir, patient, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(workdir, run)
    trained = load(run)
    one = Measurer(trained)("P1", patient.mr, patient.ct, None)
    training = [one._replace(name=name) for name in ("P1", "P2", "P3")]
    fitted = fit(training, [], [one._replace(name="P4")], network=settings(trained, None, 1))
    reference.write(run / reference.NAME, fitted)
    mr = as_dicom(patient, tmp_path / "three", "HFP", field=3)
    flags = [f"--workdir={run}", f"--mr={mr}", f"--output={tmp_path / 'out'}", "--accept"]
    done = call("synthesize", *flags)
    assert done.status == 3, done.err
    record = json.loads((tmp_path / "out" / "three.json").read_text())["acceptance"]
    header = [one["sentence"] for one in record["reasons"] if one["name"] == "header"]
    assert [one["name"] for one in record["reasons"][:2]] == ["header", "header"]
    assert "position is HFP" in header[0]
    assert "field strength is 3 T" in header[1]
