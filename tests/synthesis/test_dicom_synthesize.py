"""From a hospital's folder to a CT series for the planning system, as a user calls it."""

import json
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import ParametricMapStorage

from sde_ct.lab.phantom.dicom import Invented, save_all, structures
from sde_ct.synthesis import load
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume, left_posterior_superior, same_grid, voxel_sha256

from ..programs import call, listing
from ..volumes.dicom_series import ACQUISITIONS, edit, write_series

SHAPE, SPACING = (23, 17, 7), (14.0, 17.0, 9.0)


def mr_voxels() -> np.ndarray:
    """An ellipsoid of tissue with a dark core in noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = x**2 + y**2 + 0.2 * z**2
    mr = np.where(radius < 0.1, 40.0, np.where(radius < 0.8, 300.0 + 60 * x, 5.0))
    return (mr + np.random.default_rng(0).uniform(0, 5, mr.shape)).astype(np.int16)


@pytest.fixture
def mr_folder(tmp_path):
    """An oblique MR of Jane Doe's, in a folder of another name."""
    axes = ACQUISITIONS["oblique"]
    return write_series(tmp_path / "pelvis t2", mr_voxels(), axes=axes, spacing=SPACING)


def synthesize(workdir, mr, output, *flags):
    usual = [f"--workdir={workdir}", f"--mr={mr}", f"--output={output}", *flags]
    done = call("synthesize", *usual)
    assert done.status == 0, done.err
    return done


def test_a_dicom_mr_becomes_a_ct_series_and_a_map_on_its_grid(runs, mr_folder, tmp_path):
    out, workdir = tmp_path / "out", runs("diffusion")
    synthesize(workdir, mr_folder, out, "--sampler=em", "--draws=2", "--seed=3", "--dicom")
    mr, place = read_volume(mr_folder, "a.u."), out / "dicom" / "pelvis t2"
    nifti = read_volume(out / "sct" / "pelvis t2.nii.gz", "HU")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(place / "sct")))
    image = reader.Execute()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, nifti.array)
    x, y, z = image.TransformIndexToPhysicalPoint([20, 3, 5])  # LPS mm
    # Half a voxel would do for an overlay; float32 in NIfTI's header is good to 1e-4 mm.
    for volume in (mr, nifti):
        there = (volume.affine @ [20, 3, 5, 1])[:3]
        np.testing.assert_allclose(there, [-x, -y, z], rtol=0, atol=1e-3)
    tags = pydicom.dcmread(place / "sct" / "0001.dcm", stop_before_pixels=True)
    assert tags.PatientID == "J-17" and tags.Modality == "CT"
    assert same_grid(mr, read_volume(place / "sct", "HU"))
    spread = pydicom.dcmread(place / "sct_std.dcm")
    assert spread.SOPClassUID == ParametricMapStorage and spread.PatientID == "J-17"
    rounded = read_volume(out / "sct_std" / "pelvis t2.nii.gz", "a.u.").array
    np.testing.assert_array_equal(np.rint(spread.pixel_array[::-1].T), rounded)
    assert {p.name for p in place.iterdir()} == {"sct", "sct_std.dcm"}


def test_a_tilted_mr_gets_axial_slices_beside_its_own_and_a_note(runs, mr_folder, tmp_path):
    out = tmp_path / "out"
    done = synthesize(runs("cnn"), mr_folder, out, "--dicom_axial")
    assert "note: The slices of the new CT series are turned by" in done.out
    place = out / "dicom" / "pelvis t2"
    assert {path.name for path in place.iterdir()} == {"sct", "sct_axial"}
    tilted, straight = (
        [pydicom.dcmread(path) for path in sorted((place / kind).iterdir())]
        for kind in ("sct", "sct_axial")
    )
    assert all("AXIAL" not in image.ImageType for image in tilted)
    assert all("AXIAL" in image.ImageType for image in straight)
    assert all(list(i.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0] for i in straight)
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert straight[0][keyword].value == tilted[0][keyword].value
    assert straight[0].SeriesInstanceUID != tilted[0].SeriesInstanceUID
    assert "nothing to do" in synthesize(runs("cnn"), mr_folder, out, "--dicom_axial").out


def test_the_sidecar_tells_all_but_the_patient(runs, mr_folder, tmp_path):
    out, workdir = tmp_path / "out", runs("diffusion")
    synthesize(workdir, mr_folder, out, "--sampler=em", "--draws=2", "--seed=3")
    assert not (out / "dicom").exists()
    text = (out / "pelvis t2.json").read_text()
    assert "Doe" not in text and "Jane" not in text and "J-17" not in text
    told = json.loads(text)
    (checkpoint,) = told["checkpoints"]
    assert told["workdirs"] == [str(workdir)] and checkpoint["step"] == 24
    assert checkpoint["weights_sha256"] == load(workdir).sha256()
    assert checkpoint["configuration"]["sampling"]["em_steps"] == 12
    assert (told["sampler"], told["draws"], told["seed"], told["evaluations"]) == ("em", 2, 3, 12)
    assert told["input"]["format"] == "DICOM" and told["input"]["shape"] == list(SHAPE)
    np.testing.assert_allclose(told["input"]["spacing_mm"], SPACING, atol=1e-6)
    assert told["input"]["sha256"] == voxel_sha256(read_volume(mr_folder, "a.u.").array)
    assert told["versions"]["jax"][0].isdigit()


def test_what_the_network_never_saw_is_told_on_the_screen_and_in_the_sidecar(
    runs, mr_folder, tmp_path
):
    """It was trained on slices 16 mm apart, of pelves."""
    done = synthesize(runs("cnn"), mr_folder, tmp_path)
    warnings = json.loads((tmp_path / "pelvis t2.json").read_text())["warnings"]
    assert any("between slices is 9 mm; the network was trained on 15" in w for w in warnings)
    assert all(f"warning: pelvis t2: {w}" in done.err for w in warnings)


def test_a_folder_named_after_the_patient_does_not_name_the_output(runs, mr_folder, tmp_path):
    named = mr_folder.rename(tmp_path / "DOE_JANE")
    out = tmp_path / "out"
    synthesize(runs("cnn"), named / "IM003.dcm", out, "--dicom")
    assert len(listing(out)) > 8 and not [p for p in listing(out) if "doe" in p.lower()]
    assert "doe" not in next(out.glob("mr-*.json")).read_text().lower()


@pytest.mark.parametrize("name", ["pat7/mr.mha", "knee.mha"])
def test_a_metaimage_is_taken_too_and_its_new_identity_is_said(runs, mr_folder, tmp_path, name):
    image = sitk.GetImageFromArray(np.ascontiguousarray(mr_voxels().T))
    image.SetSpacing(SPACING)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    sitk.WriteImage(image, str(tmp_path / name))
    out, case = tmp_path / "out", name.split(".")[0].split("/")[0]
    done = synthesize(runs("cnn"), tmp_path / name, out, "--dicom")
    notes = json.loads((out / f"{case}.json").read_text())["notes"]
    assert "The MR is not DICOM" in notes[0] and "PatientPosition" in notes[1]
    assert all(f"note: {note}" in done.out for note in notes)
    mr, ct = read_volume(tmp_path / name, "a.u."), read_volume(out / "dicom" / case / "sct", "HU")
    assert same_grid(left_posterior_superior(mr), ct)
    assert not (out / "dicom" / case / "sct_std").exists()


def test_a_second_run_changes_nothing(runs, mr_folder, tmp_path):
    out = tmp_path / "out"
    (out / "dicom" / "pelvis t2" / "sct").mkdir(parents=True)
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_folder}", f"--output={out}", "--dicom"]
    assert "dicom/pelvis t2/sct exists: give another --output" in call("synthesize", *usual).error
    assert set(listing(out)) == {"dicom", "dicom/pelvis t2", "dicom/pelvis t2/sct"}


@pytest.mark.parametrize("changes", [{"PatientID": "P-42"}, {"FrameOfReferenceUID": "1.2.3.4"}])
def test_a_corrected_identity_is_not_passed_over(runs, mr_folder, tmp_path, changes):
    """The series would join another patient's images, or other coordinates."""
    out = tmp_path / "out"
    synthesize(runs("cnn"), mr_folder, out)
    added = synthesize(runs("cnn"), mr_folder, out, "--dicom")  # joins what is there
    assert "7 slices" in added.out
    text = (out / "pelvis t2.json").read_text()
    assert len(json.loads(text)["joined_series"]) == 64
    assert "Doe" not in text and "J-17" not in text
    before = listing(out)
    assert "nothing to do" in synthesize(runs("cnn"), mr_folder, out, "--dicom").out
    for path in mr_folder.iterdir():
        edit(path, **changes)
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_folder}", f"--output={out}"]
    error = call("synthesize", *usual, "--dicom").error
    assert "pelvis t2.json describes DICOM series that join another MR series" in error
    assert "nothing to do" in call("synthesize", *usual).out  # NIfTI files join nothing
    assert listing(out) == before


@pytest.mark.parametrize("named", ["folder", "all files"])
def test_one_volume_of_a_mixed_series_is_synthesized(runs, mr_folder, tmp_path, named):
    write_series(
        mr_folder, mr_voxels() // 2, axes=ACQUISITIONS["oblique"], spacing=SPACING, prefix="E2_",
        EchoTime=100,
    )  # fmt: skip
    argument = mr_folder if named == "folder" else mr_folder / "*.dcm"
    usual = [f"--workdir={runs('cnn')}", f"--mr={argument}", f"--output={tmp_path / 'out'}"]
    error = call("synthesize", *usual).error
    assert "2 volumes in one series, EchoTime=100.0 (7 images), EchoTime=none (7 images)" in error
    synthesize(runs("cnn"), argument, tmp_path / "out", "--choose=EchoTime=100")
    told = json.loads((tmp_path / "out" / "pelvis t2.json").read_text())
    assert told["input"]["sha256"] == voxel_sha256((mr_voxels() // 2).astype(np.float32))


def test_an_empty_patient_id_is_noted_and_can_be_filled_in(runs, mr_folder, tmp_path):
    for path in mr_folder.iterdir():
        edit(path, PatientID="", PatientName="")
    done = synthesize(runs("cnn"), mr_folder, tmp_path / "a", "--dicom")
    notes = json.loads((tmp_path / "a" / "pelvis t2.json").read_text())["notes"]
    assert "have no PatientID: --patient_id fills it in" in notes[0]
    assert "have no PatientName" in notes[1] and f"note: {notes[0]}" in done.out
    synthesize(runs("cnn"), mr_folder, tmp_path / "b", "--dicom", "--patient_id=K-42")
    text = (tmp_path / "b" / "pelvis t2.json").read_text()
    assert "have no PatientID" not in text and "K-42" not in text
    for path in (tmp_path / "b" / "dicom" / "pelvis t2" / "sct").iterdir():
        assert pydicom.dcmread(path).PatientID == "K-42"
    write_volume(tmp_path / "mr.nii.gz", read_volume(mr_folder, "a.u."))
    synthesize(runs("cnn"), tmp_path / "mr.nii.gz", tmp_path / "c", "--dicom", "--patient_id=K-42")
    (written, *_) = (tmp_path / "c" / "dicom").rglob("0001.dcm")
    assert pydicom.dcmread(written).PatientID == "K-42"
    assert not [p for p in (tmp_path / "c").glob("*.json") if "K-42" in p.read_text()]


PATIENT_IDS = {
    "another": (["--patient_id=K-42", "--dicom"], "has another PatientID than --patient_id"),
    "no DICOM": (["--patient_id=K-42"], "--patient_id affects only DICOM outputs: add --dicom"),
    "long": (["--patient_id=" + 65 * "9", "--dicom"], "give up to 64 characters"),
    "two MRs": (["--patient_id=K-42", "--dicom", "--mr=OTHER"], "give one --mr, not 2"),
}


@pytest.mark.parametrize("case", PATIENT_IDS)
def test_a_patient_id_that_cannot_be_filled_in_is_refused(runs, mr_folder, tmp_path, case):
    write_volume(tmp_path / "knee.nii.gz", read_volume(mr_folder, "a.u."))
    given, sentence = PATIENT_IDS[case]
    given = [flag.replace("OTHER", str(tmp_path / "knee.nii.gz")) for flag in given]
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_folder}", f"--output={tmp_path / 'out'}"]
    assert sentence in call("synthesize", *usual, *given).error
    assert not (tmp_path / "out").exists()


def test_a_sagittal_mr_is_written_so_and_the_planner_told(runs, tmp_path):
    axes = ACQUISITIONS["sagittal"]
    folder = write_series(tmp_path / "t2", mr_voxels(), axes=axes, spacing=SPACING)
    done = synthesize(runs("cnn"), folder, tmp_path / "out", "--dicom")
    notes = json.loads((tmp_path / "out" / "t2.json").read_text())["notes"]
    assert "slices are not axial" in notes[0]
    assert all(f"note: {note}" in done.out for note in notes)


def test_a_folder_of_several_series_is_refused_with_their_names(runs, mr_folder, tmp_path):
    write_series(mr_folder, mr_voxels(), number=2, prefix="B", spacing=SPACING)
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_folder}", f"--output={tmp_path / 'out'}"]
    error = call("synthesize", *usual).error
    assert "holds 2 series" in error and "B001.dcm" in error and not (tmp_path / "out").exists()


def test_a_grid_that_dicom_cannot_have_is_refused_before_any_work(
    runs, mr_folder, tmp_path, monkeypatch
):
    mr = read_volume(mr_folder, "a.u.")
    shear = np.eye(4)
    shear[0, 2] = 0.3
    write_volume(tmp_path / "bent.nii", Volume(mr.array, shear @ mr.affine, "a.u."))
    image = nib.load(tmp_path / "bent.nii")
    image.set_sform(shear @ mr.affine, code="scanner")  # a qform cannot hold it
    nib.save(image, tmp_path / "sheared.nii")
    monkeypatch.setattr("sde_ct.synthesis.Synthesizer.__call__", None)
    usual = [f"--workdir={runs('cnn')}", f"--mr={tmp_path / 'sheared.nii'}", "--dicom"]
    error = call("synthesize", *usual, f"--output={tmp_path / 'out'}").error
    assert "sheared.nii is not written as DICOM: its axes are not perpendicular" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("named", ["folder", "one file", "all files"])
def test_every_header_of_the_mr_is_read_once(runs, mr_folder, tmp_path, monkeypatch, named):
    """From the search for sources to the CT series that joins the MR's."""
    argument = {"folder": mr_folder, "one file": mr_folder / "IM003.dcm"}
    reads = Counter()
    read = pydicom.dcmread

    def counted(source, *args, **options):
        if options.get("stop_before_pixels"):
            reads[Path(source).name] += 1
        return read(source, *args, **options)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    synthesize(
        runs("cnn"), argument.get(named, mr_folder / "*.dcm"), tmp_path / "out", "--draws=1",
        "--dicom",
    )  # fmt: skip
    assert reads == {f"IM{n:03d}.dcm": 1 for n in range(1, SHAPE[2] + 1)}


def contours(folder, mr, name, frame):
    """An RTSTRUCT with one structure, a rectangle of 11 by 9 voxels on every slice of the MR."""
    corners = np.array([(5.6, 3.6), (16.4, 3.6), (16.4, 12.4), (5.6, 12.4)])
    polygons = [
        np.column_stack([corners, np.full(4, k)]) @ mr.affine[:3, :3].T + mr.affine[:3, 3]
        for k in range(mr.array.shape[2])
    ]
    owner = Invented("J-17", "Doe^Jane")
    folder.mkdir()
    save_all(folder, [structures(owner, "Set", "MR", {name: polygons}, {})], [0])
    (file,) = folder.iterdir()
    image = pydicom.dcmread(file)
    for roi in image.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = frame
    image.save_as(file)
    return file


def test_contours_are_taken_as_the_mask(runs, mr_folder, tmp_path):
    mr = read_volume(mr_folder, "a.u.")
    frame = pydicom.dcmread(mr_folder / "IM001.dcm").FrameOfReferenceUID
    file = contours(tmp_path / "rt", mr, "BODY", frame)
    synthesize(runs("cnn"), mr_folder, tmp_path / "out", f"--mask={file}")
    expected = np.zeros(SHAPE, np.uint8)
    expected[6:17, 4:13] = 1
    used = json.loads((tmp_path / "out" / "pelvis t2.json").read_text())["input"]["mask_sha256"]
    assert used == voxel_sha256(expected)


@pytest.mark.parametrize(
    ("name", "frame", "sentence"),
    [
        ("Bladder", None, "no structure is of type EXTERNAL or called BODY"),
        ("BODY", "1.2.3", "1 outlines lie in another frame of reference"),
    ],
)
def test_contours_of_something_else_are_refused(runs, mr_folder, tmp_path, name, frame, sentence):
    mr = read_volume(mr_folder, "a.u.")
    own = pydicom.dcmread(mr_folder / "IM001.dcm").FrameOfReferenceUID
    file = contours(tmp_path / "rt", mr, name, frame or own)
    usual = [f"--workdir={runs('cnn')}", f"--mr={mr_folder}", f"--output={tmp_path / 'out'}"]
    error = call("synthesize", *usual, f"--mask={file}").error
    assert f"{file} outlines no body on the MR ({sentence}" in error
    assert not (tmp_path / "out").exists()
