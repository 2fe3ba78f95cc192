"""`launch/doctor.py` as it is called: what it says, its status, and that it writes nothing."""

import json
import re
import shutil
import stat

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from sde_ct.doctor.finding import Finding, Report, screen
from sde_ct.lab.phantom.gold_atlas import write_gold_atlas
from sde_ct.volumes.files import read_volume, write_volume

from .. import broken, tiny
from ..programs import call, listing
from ..volumes.dicom.test_series import MR
from ..volumes.dicom_series import write_series


def doctor(path, *flags):
    return call("doctor", path, "--nocost", *flags)


def healthy(done) -> bool:
    return done.status == 0 and "healthy  nothing found" in done.out


@pytest.fixture
def cohort(phantoms, tmp_path):
    """A copy of the phantoms' files, to be spoilt."""
    return shutil.copytree(phantoms.folder.parent / "cohort", tmp_path / "cohort")


@pytest.fixture
def data(phantoms, tmp_path):
    return shutil.copytree(phantoms.folder, tmp_path / "data")


def folder_of(cohort, number):
    return cohort / "Task1" / "pelvis" / f"1PA{number:03d}"


def test_what_is_sound_is_healthy_and_stays_as_it_is(phantoms, runs, cohort):
    for path in (cohort, folder_of(cohort, 1) / "mr.nii.gz", phantoms.folder, runs("cnn")):
        before = listing(path) if path.is_dir() else path.read_bytes()
        done = doctor(path)
        assert healthy(done), f"{path}: {done.out}{done.err}"
        assert before == (listing(path) if path.is_dir() else path.read_bytes())


def test_the_kinds_of_paths_are_told_apart(phantoms, runs, cohort):
    assert "raw data, 5 patients, --source=synthrad2023" in doctor(cohort).out
    out = doctor(phantoms.folder).out
    assert "a prepared data set" in out and "(3 train, 1 validation, 1 test)" in out
    out = doctor(runs("cnn")).out
    assert "a work directory" in out and "best checkpoint: step 24 of 24" in out


def test_the_order_of_axes_changes_neither_slices_nor_voxels(cohort):
    """One patient's files have their axes to posterior, superior and the right."""
    ornt = nib.orientations
    way = ornt.ornt_transform(ornt.axcodes2ornt("RAS"), ornt.axcodes2ornt("PSR"))
    for path in cohort.rglob("*.nii.gz"):
        image = nib.load(path)
        affine = image.affine @ np.diag([0.8, 0.8, 1.5, 1])  # voxels of about 13 x 13 x 24 mm
        image = nib.Nifti1Image(image.dataobj, affine, image.header)
        turned = path.parent == folder_of(cohort, 2)
        nib.save(image.as_reoriented(way) if turned else image, path)
    done = doctor(cohort)
    assert healthy(done) and "30 slices of MR" in done.out, done.out


@pytest.mark.parametrize("name", ["README", "LICENSE2"])
def test_a_text_without_suffix_beside_the_patients_is_no_slice(name, cohort, tmp_path):
    loose = tmp_path / "loose"
    loose.mkdir()
    shutil.copy(folder_of(cohort, 1) / "mr.nii.gz", loose / "x_t2.nii.gz")
    for folder, what in ((cohort, "raw data, 5 patients"), (loose, "1 volume, in no layout")):
        (folder / name).write_text("These are phantoms.")
        done = doctor(folder)
        assert healthy(done) and what in done.out, done.out


def test_an_interrupted_preparation_is_told(data):
    (data / "dataset.json").unlink()
    (data / "request.json").write_text("{}")
    done = doctor(data)
    assert done.status == 1 and "fix: give the same command again" in done.out


def test_a_cohort_of_dicom_is_sound_but_for_its_implant(tmp_path):
    """Grids, fields of view and scanners that differ are no faults."""
    cohort = tmp_path / "cohort"
    write_gold_atlas(cohort, seed=1, patients=("1_01_P", "2_01_P"), shape=(64, 56, 10))
    done = doctor(cohort)
    assert healthy(done) and "2 patients, --source=gold_atlas" in done.out, done.out
    write_gold_atlas(cohort, seed=1, patients=("3_01_P",), shape=(64, 56, 10))
    done = doctor(cohort)
    assert done.status == 1 and "3_01_P CT: metal" in done.out and "up to 19000" in done.out
    assert "mixed in one folder" in doctor(cohort / "1_01_P").out


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """One patient with an implant; nobody writes to it."""
    root = tmp_path_factory.mktemp("atlas")
    write_gold_atlas(root, seed=1, patients=("3_01_P",), shape=(64, 56, 6))
    return root


def test_a_named_file_is_examined_as_its_series_is(atlas):
    """In a folder of eight series, whose first by the alphabet is a CT."""
    folder = atlas / "3_01_P"
    series = {"ax": ("MR", 6), "deformed": ("CT", 5)}
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        if header.SeriesDescription in series:
            kind, count = series.pop(header.SeriesDescription)
            done = doctor(path)
            assert f"{path.name}: DICOM, {count} files, {kind}\n" in done.out
            assert "mixed" not in done.out and ("metal" in done.out) == (kind == "CT")
            assert "not in HU" not in done.out
    assert not series


def test_a_patients_series_in_subfolders_name_nobody(atlas, tmp_path):
    """They are read as prepare.py reads them; what their tags and folders say is withheld."""
    folder = tmp_path / "Doe_Jane"
    for path in (atlas / "3_01_P").iterdir():
        header = pydicom.dcmread(path)
        header.PatientName, header.PatientID = "Doe^Jane", "J-17"
        (folder / header.SeriesDescription).mkdir(parents=True, exist_ok=True)
        header.save_as(folder / header.SeriesDescription / path.name)
    done = doctor(tmp_path)
    assert "1 patient, --source=gold_atlas" in done.out and "CT: metal" in done.out
    assert "[name]_[name] CT" in done.out
    assert not re.search("doe|jane|j-17", done.out + done.err, re.IGNORECASE)
    shutil.rmtree(folder / "ax")
    done = doctor(tmp_path)
    assert "are T2-weighted" in done.out
    assert not re.search("doe|jane|j-17", done.out + done.err, re.IGNORECASE)


def test_a_flat_folder_of_small_names_is_no_pair(atlas, tmp_path):
    for path in (atlas / "3_01_P").iterdir():
        (tmp_path / "p").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "p" / path.name.lower())
    done = doctor(tmp_path)
    assert "1 patient, --source=gold_atlas" in done.out and "all match" not in done.out


def as_nnunet(cohort, place):
    (place / "imagesTr").mkdir(parents=True)
    channels = {"0": "MR", "1": "CT"}
    (place / "dataset.json").write_text(json.dumps({"channel_names": channels}))
    for n in range(1, 4):
        for channel, kind in enumerate(("mr", "ct")):
            shutil.copy(
                folder_of(cohort, n) / f"{kind}.nii.gz",
                place / "imagesTr" / f"p{n}_000{channel}.nii.gz",
            )


def as_synthrad2025(cohort, place):
    for n in range(1, 4):
        folder = place / "Task1" / "AB" / f"1ABA{n:03d}"
        folder.mkdir(parents=True)
        for kind in ("mr", "ct", "mask"):
            image = sitk.ReadImage(str(folder_of(cohort, n) / f"{kind}.nii.gz"))
            sitk.WriteImage(image, str(folder / f"{kind}.mha"))


@pytest.mark.parametrize(
    ("convert", "source"), [(as_nnunet, "nnunet"), (as_synthrad2025, "synthrad2025")]
)
def test_other_layouts_are_known(convert, source, cohort, tmp_path):
    convert(cohort, tmp_path / "other")
    done = doctor(tmp_path / "other")
    assert healthy(done) and f"3 patients, --source={source}" in done.out, done.out


@pytest.mark.parametrize("others", ["metaimage", "dicom", "one each"])
def test_pairs_of_mixed_formats_are_pairs(others, cohort, tmp_path):
    """No patient is said to lack a CT because a neighbour has NIfTI files."""
    for number in (1, 2):
        place = tmp_path / "mixed" / f"p{number}"
        place.mkdir(parents=True)
        for kind in ("mr", "ct"):
            image = sitk.ReadImage(str(folder_of(cohort, number) / f"{kind}.nii.gz"))
            suffix = ".nii.gz"
            if number == 2 and (others == "metaimage" or (others == "one each" and kind == "ct")):
                suffix = ".mha"
            if number == 2 and others == "dicom" and kind == "mr":
                array = np.moveaxis(sitk.GetArrayFromImage(image), 0, 2).swapaxes(0, 1)
                write_series(place / "mr", array)
            else:
                sitk.WriteImage(image, str(place / f"{kind}{suffix}"))
    done = doctor(tmp_path / "mixed")
    assert "2 patients, --source=pairs" in done.out
    assert "no CT" not in done.out and "no MR" not in done.out
    assert others == "dicom" or healthy(done), done.out


def test_each_finding_of_a_kind_is_told():
    """Several places share a sentence; further ones of the same fix are told too, some in full."""
    found = [Finding("error", f"values 0 to {n}", "subtract", f"p{n}") for n in range(5)]
    found += [Finding("warning", "noise", "wait", "a"), Finding("warning", "noise", "wait", "b")]
    found += [Finding("warning", "streaks", "wait"), Finding("warning", "streaks", "wait")]
    assert screen(Report("t", findings=tuple(found))).splitlines() == [
        "t",
        "error    p0: values 0 to 0",
        "error    p1: values 0 to 1",
        "error    p2: values 0 to 2",
        "         and 2 more: p3, p4",
        "         fix: subtract",
        "warning  a: noise (and 1 more: b)",
        "warning  streaks",
        "         fix: wait",
    ]


def test_faults_of_a_cohort_are_named_with_the_patient(cohort):
    for name in ("mr", "ct", "mask"):
        shutil.copy(folder_of(cohort, 1) / f"{name}.nii.gz", folder_of(cohort, 4))
    ct = read_volume(folder_of(cohort, 2) / "ct.nii.gz", "HU")
    write_volume(folder_of(cohort, 2) / "ct.nii.gz", ct.with_array(ct.array + 1024), overwrite=True)
    (folder_of(cohort, 3) / "ct.nii.gz").unlink()
    (folder_of(cohort, 5) / "report.json").write_text(json.dumps({"PatientName": "Doe^Jane"}))
    done = doctor(cohort)
    text = " ".join(done.out.split())
    assert done.status == 1
    assert re.search(r"1PA002 CT: not in HU \(values .+\): its units look like HU \+ 1024", text)
    assert "fix: subtract 1024" in text
    assert "1PA001, 1PA004 have the same MR, voxel for voxel" in text
    assert re.search(r"1PA003\S* ?.*no CT", text)
    assert "a patient is named in text or JSON" in text and "Doe" not in text
    assert all(len(line) <= 100 for line in done.out.splitlines())


def test_a_leak_by_voxels_is_found_in_prepared_data(data):
    test = json.loads((data / "dataset.json").read_text())["split"]["test"][0]
    for path in (data / "cases" / "1PA001").glob("*.n*"):
        shutil.copy(path, data / "cases" / test)
    done = doctor(data)
    assert done.status == 1
    assert f"1PA001, {test} hold the same voxels in test and in train" in done.out


def test_a_leak_by_name_is_found_though_the_data_are_refused(data):
    index = json.loads((data / "dataset.json").read_text())
    index["split"]["test"].append("1PA001")
    (data / "dataset.json").write_text(json.dumps(index))
    done = doctor(data)
    assert done.status == 1 and "1PA001 is in test and in train" in done.out


def test_a_set_without_validation_patients_is_warned_of(data):
    index = json.loads((data / "dataset.json").read_text())
    index["split"]["train"] += index["split"]["validation"]
    index["split"]["validation"] = []
    (data / "dataset.json").write_text(json.dumps(index))
    done = doctor(data)
    assert "there are no validation patients" in done.out and not healthy(done)


def test_a_folder_that_the_index_does_not_list_is_warned_of(data):
    index = json.loads((data / "dataset.json").read_text())
    (name,) = index["split"]["validation"]
    del index["cases"][name]
    index["split"] |= {
        "train": index["split"]["train"][1:],
        "validation": index["split"]["train"][:1],
    }
    (data / "dataset.json").write_text(json.dumps(index))
    (data / "cases" / ".1PA009-77").mkdir()  # of a run that was killed
    done = doctor(data)
    text = " ".join(done.out.split())
    assert done.status == 1 and f"{name}: the patient's folder in cases is not in" in text
    assert "1PA009" not in text


def test_a_network_of_another_version_is_an_error_unless_a_version_is_unknown(runs, monkeypatch):
    where = "sde_ct.doctor.examine_prepared.versions"
    monkeypatch.setattr(where, lambda: {"sde-ct": "9.9"})
    assert "but this is 9.9" in doctor(runs("cnn")).out
    monkeypatch.setattr(where, lambda: {"sde-ct": "not installed"})
    assert healthy(doctor(runs("cnn")))


def test_damage_of_prepared_data_and_of_a_checkpoint_is_a_finding(data, runs, tmp_path):
    (data / "cases" / "1PA002" / "ct.npy").write_bytes(b"")
    assert "ct.npy is missing or damaged" in doctor(data).out
    run = shutil.copytree(runs("cnn"), tmp_path / "run")
    shutil.rmtree(run / "checkpoints")
    done = doctor(run)
    assert done.status == 1 and "no checkpoint" in done.out
    (run / "experiment.json").write_text("{")
    done = doctor(run)
    assert done.status == 1 and "experiment.json is damaged" in done.out


def test_dicom_is_examined_and_the_patient_stays_unnamed(tmp_path):
    folder = write_series(tmp_path / "DOE_JANE" / "J-17 t2", MR)
    done = doctor(folder)
    text = done.out + done.err
    # The voxels of this series are noise, each unrelated to the next.
    assert done.status == 1 and "neighbouring voxels are unrelated" in text
    assert "DICOM, 7 files, MR" in text and "the tags name the patient" in text
    assert not re.search("doe|jane|j-17|1960", text, re.IGNORECASE)
    (folder / "IM004.dcm").unlink()
    assert "lacks a slice" in doctor(folder).out


def test_no_broken_input_is_called_healthy_or_stops_the_doctor(tmp_path):
    sound_alone = {"patient loop", "patient dangling link"}  # a link to nowhere is no file
    for number, (name, case) in enumerate(broken.table().items()):
        root = tmp_path / str(number)
        (root / "bert").mkdir(parents=True)
        case.make(root / "bert")
        before = listing(root)
        done = doctor(root)
        assert done.status in (1, 2) or name in sound_alone, f"{name}: {done.out}"
        assert "Traceback" not in done.err and listing(root) == before, name


@pytest.mark.parametrize("name", ["nowhere", "empty", "notes.txt"])
def test_what_is_no_image_is_refused(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no image")
    before = listing(tmp_path)
    done = doctor(tmp_path / name)
    assert done.status == 2 and name in done.error and listing(tmp_path) == before


def test_one_path_is_wanted(tmp_path):
    assert "0 arguments: give one PATH" in call("doctor").error
    assert "2 arguments: give one PATH" in call("doctor", tmp_path, tmp_path).error


@pytest.mark.parametrize(
    ("method", "evaluations"), [("diffusion", 20), ("residual", 20.2), ("distilled", 1.2)]
)
def test_the_cost_is_told(method, evaluations, phantoms, tmp_path):
    """Ten draws of a residual share two evaluations of the regression."""
    run = tiny.untrained(tiny.experiment(method), phantoms, tmp_path / "run")
    done = call("doctor", run)
    cost = " ".join(done.out.split("cost")[1].split())
    found = re.search(
        rf"about (\S+) (s|min|h|days) for 80 slices, {evaluations} evaluations, 10 draws; "
        r"estimated from the traced network, (\S+) GFLOP per slice, and (\S+) GFLOP/s "
        r"measured on \d+ x", cost
    )  # fmt: skip
    assert found, cost
    seconds = {"s": 1, "min": 60, "h": 3600, "days": 86400}[found[2]] * float(found[1])
    expected = 80 * evaluations * 10 * float(found[3]) / float(found[4])
    # Shown with two digits at the least, or a whole number above 1.
    assert seconds == pytest.approx(expected, rel=0.3)


def test_a_denoiser_that_is_not_trained_yet_is_no_damage(phantoms, tmp_path):
    done = doctor(tiny.untrained(tiny.experiment("residual"), phantoms, tmp_path / "run"))
    assert done.status == 1 and "error" not in done.out
    assert "warning  the denoiser is not trained yet, so there are no draws" in done.out
    assert "--sampler=mean" in done.out


REAL = {
    "head_pair": ["8-bit intensities", "noisy", "left and right cannot be distinguished",
                  "different grids", "clipped: 17 voxels at 3071 HU"],
    "head_pair/mr_T2.nii.gz": ["MR, NIfTI", "8-bit", "noisy", "left and right"],
    "pelvis_ct": ["metal: 11.0 cm3 above 2500 HU (up to 3382)"],
    "abdomen_mr/mr.nii.gz": ["MR, NIfTI", "healthy"],
    "ct_dicom": ["DICOM, 93 files, CT", "its units look like HU + 1024", "made up",
                 "the tags name the patient"],
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_data_are_told_the_truth_about(name, head_pair):
    done = doctor(head_pair.parent / name)
    text = " ".join(done.out.split())
    assert done.status == (0 if "healthy" in REAL[name] else 1)
    for sentence in REAL[name]:
        assert sentence in text
    if name == "ct_dicom":
        assert not re.search("austrialian|8775070", text, re.IGNORECASE)


def test_the_registered_head_is_not_called_misregistered(head_pair, tmp_path):
    (tmp_path / "head").mkdir()
    for kind, name in (("mr", "mr_T2"), ("ct", "ct_in_T2")):
        shutil.copy(head_pair / f"{name}.nii.gz", tmp_path / "head" / f"{kind}.nii.gz")
    assert "misregistered" not in doctor(tmp_path).out
    image = nib.load(tmp_path / "head" / "ct.nii.gz")
    moved = np.roll(np.asarray(image.dataobj), 12, 0)  # 12 mm
    nib.save(nib.Nifti1Image(moved, image.affine), tmp_path / "head" / "ct.nii.gz")
    assert "misregistered" in doctor(tmp_path).out
    assert stat.S_ISREG((tmp_path / "head" / "ct.nii.gz").stat().st_mode)
