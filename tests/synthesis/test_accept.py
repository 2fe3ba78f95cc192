"""`accept.py --fit`, then PASS or REVIEW by `synthesize --accept` and by `accept.py --sct`."""

import json
import shutil
import threading

import numpy as np
import pydicom
import pytest

from sde_ct.errors import InputError
from sde_ct.storage.whole import write_json
from sde_ct.synthesis import job
from sde_ct.synthesis.judged_files import JudgedFolder
from sde_ct.synthesis.request import AcceptRequest
from sde_ct.synthesis.sidecar import volume_locked
from sde_ct.volumes.files import read_volume, write_volume

from .. import tiny
from ..programs import call, listing


@pytest.fixture(scope="module")
def fitted(runs, phantoms, tmp_path_factory):
    """A copy of the work directory of a tiny network with a reference, and what the fit said."""
    workdir = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(runs("diffusion"), workdir)
    flags = [f"--workdir={workdir}", f"--data={phantoms.folder}", "--sampler=em", "--draws=3"]
    done = call("accept", "--fit", *flags)
    assert done.status == 0, done.err
    return workdir, done.out + done.err


@pytest.fixture
def usual(phantoms):
    (case,) = phantoms.of("test")
    return case.id, [f"--mr={case.folder / 'mr.nii.gz'}", "--sampler=em"]


def test_the_fit_says_what_one_patient_cannot_promise(fitted):
    _, said = fitted
    assert "fitted on 3 training and 1 validation patients" in said
    assert "1 validation patient cannot promise a rate of 5%" in said


def test_a_verdict_is_in_status_sidecar_page_and_series(fitted, usual, tmp_path):
    (workdir, _), (name, mr) = fitted, usual
    out = tmp_path / "out"
    flags = [f"--workdir={workdir}", *mr, f"--output={out}", "--accept", "--dicom"]
    # The draws differ from those of the fit, which is a reason by itself.
    done = call("synthesize", *flags, "--draws=2")
    assert done.status == 3, done.err
    assert "REVIEW: other sampling settings than those of the fit" in done.out
    record = json.loads((out / f"{name}.json").read_text())["acceptance"]
    assert record["verdict"] == "REVIEW"
    assert record["reasons"][0]["name"] == "settings"
    assert "draws: 3 -> 2" in record["reasons"][0]["sentence"]
    page = (out / "acceptance" / f"{name}.html").read_text()
    assert "REVIEW" in page
    assert "draws: 3 -&gt; 2" in page
    ct = pydicom.dcmread(out / "dicom" / name / "sct" / "0001.dcm")
    assert ct.SeriesDescription == "Synthetic CT from MR, research only, REVIEW: settings"
    assert "REVIEW: other sampling settings" in ct.DerivationDescription
    # The same command again, and the other program, come to the same verdict.
    assert call("synthesize", *flags, "--draws=2").status == 3
    again = call("accept", f"--workdir={workdir}", f"--sct={out}")
    assert again.status == 3, again.err
    assert json.loads((out / f"{name}.json").read_text())["acceptance"] == record
    # Further outputs that are made without --accept leave the verdict.
    further = [flag for flag in flags if flag != "--accept"] + ["--save_draws"]
    assert call("synthesize", *further, "--draws=2").status == 0
    assert json.loads((out / f"{name}.json").read_text())["acceptance"] == record


def test_a_ct_that_shows_tissue_in_the_air_is_reviewed(fitted, phantoms, tmp_path):
    """The tiny network draws noise, also for the patients of its fit, who therefore look usual."""
    (workdir, said), (case,) = fitted, phantoms.of("validation")
    name, mr = case.id, [f"--mr={case.folder / 'mr.nii.gz'}", "--sampler=em"]
    assert "1 of 1 validation patients show tissue in the air around the body" in said
    ask = [f"--workdir={workdir}", *mr, f"--output={tmp_path}", "--draws=3", "--accept", "--dicom"]
    for program in (ask, ask):
        done = call("synthesize", *program)
        assert done.status == 3 and "air outside the body that is not air in the CT" in done.out
    record = json.loads((tmp_path / f"{name}.json").read_text())
    (reason,) = (one for one in record["acceptance"]["reasons"] if one["name"] == "air")
    assert reason["sentence"] in record["warnings"] and "do not use this CT" in reason["sentence"]
    ct = pydicom.dcmread(tmp_path / "dicom" / name / "sct" / "0001.dcm")
    assert "REVIEW" in ct.SeriesDescription
    judge = ["accept", f"--workdir={workdir}", f"--sct={tmp_path}"]
    for flags in ([], mr[:1]):  # by the sidecar, and by the files of the CT
        assert call(*judge, *flags).status == 3
        again = json.loads((tmp_path / f"{name}.json").read_text())["acceptance"]
        assert again["reasons"] == record["acceptance"]["reasons"]


def test_a_volume_from_before_the_fit_needs_its_mr(fitted, runs, usual, tmp_path):
    (workdir, _), (name, mr) = fitted, usual
    early, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(runs("diffusion"), early)
    assert call("synthesize", f"--workdir={early}", *mr, f"--output={out}", "--draws=3").status == 0
    judge = ["accept", f"--workdir={workdir}", f"--sct={out}"]
    assert "give launch/accept.py the MR too (--mr)" in call(*judge).err
    done = call(*judge, mr[0])
    assert done.status in (0, 3), done.err
    before = json.loads((out / f"{name}.json").read_text())["acceptance"]["features"]
    # The files hold whole HU, and single draws were not kept.
    fresh = tmp_path / "fresh"
    call("synthesize", f"--workdir={workdir}", *mr, f"--output={fresh}", "--draws=3", "--accept")
    after = json.loads((fresh / f"{name}.json").read_text())["acceptance"]["features"]
    assert set(after) - set(before) == {"outlying_draw"}
    # Rounding moves a mean by at most half a HU, and some voxels into or out of a tissue.
    for k in before:
        least = 0.5 if k.endswith("_hu") else 0.02
        assert before[k] == pytest.approx(after[k], rel=0.02, abs=least)
    (out / "sct" / f"{name}.nii.gz").write_bytes(b"another CT")
    changed = call(*judge)
    assert changed.status == 2 and f"{name}.nii.gz has changed since it was written" in changed.err


def test_an_interval_of_the_range_that_is_too_wide_is_a_reason(fitted, usual, tmp_path):
    (workdir, _), (name, mr) = fitted, usual
    volume = read_volume(mr[0].removeprefix("--mr="), "a.u.")
    target, middle = np.zeros(volume.array.shape, np.uint8), [n // 2 for n in volume.array.shape]
    target[tuple(slice(n, n + 2) for n in middle)] = 1
    write_volume(tmp_path / "target.nii.gz", volume.with_array(target, "mask"))
    ask = [f"--workdir={workdir}", *mr, f"--output={tmp_path}", "--draws=3", "--accept"]
    rays = ["--rays=0,90", f"--target={tmp_path / 'target.nii.gz'}", "--range_limit=0.001"]
    done = call("synthesize", *ask, *rays)
    assert done.status == 3, done.err
    reasons = json.loads((tmp_path / f"{name}.json").read_text())["acceptance"]["reasons"]
    found = [one["sentence"] for one in reasons if one["name"] == "range"]
    assert found and "0.001 mm" in " ".join(found)
    judge = ["accept", f"--workdir={workdir}", f"--sct={tmp_path}"]
    # The limit of the last verdict holds until another is given.
    again = json.loads((tmp_path / f"{name}.json").read_text())["acceptance"]
    assert call(*judge).status == 3
    assert json.loads((tmp_path / f"{name}.json").read_text())["acceptance"] == again
    assert again["range_limit_mm"] == 0.001
    # A CT series that is made later states the same verdict, and measuring the MR again keeps it.
    assert call("synthesize", *ask, "--dicom").status == 3
    ct = pydicom.dcmread(tmp_path / "dicom" / name / "sct" / "0001.dcm")
    assert "path lengths that are too uncertain" in ct.DerivationDescription
    assert call(*judge, mr[0]).status == 3
    record = json.loads((tmp_path / f"{name}.json").read_text())["acceptance"]
    assert record["range_limit_mm"] == 0.001
    assert "range" in [one["name"] for one in record["reasons"]]
    judge.append("--range_limit=1000")
    sidecar = json.loads((tmp_path / f"{name}.json").read_text())
    for change in ({"draws": "3"}, {"checkpoints": []}, {"acceptance": {}}):
        (tmp_path / f"{name}.json").write_text(json.dumps(sidecar | change))
        error = call(*judge).error
        assert f"{name}.json is damaged ({next(iter(change))}" in error
        assert error.endswith("synthesize its volume again.")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--sct=nowhere"], "nowhere holds no output of launch/synthesize.py"),
        ([], "Give either --fit with --data, or --sct=OUTPUT"),
        (["--fit"], "--fit needs --data"),
        (["--fit", "--data=d", "--rate=5"], "--rate=5.0: give a share"),
    ],
)
def test_a_call_that_cannot_work_is_refused_in_a_sentence(fitted, flags, sentence):
    done = call("accept", f"--workdir={fitted[0]}", *flags)
    assert done.status == 2
    assert sentence in done.err


def test_other_patients_with_the_names_of_the_training_are_refused(runs, tmp_path):
    """Neither program may say of them that the network was trained on them."""
    workdir = shutil.copytree(runs("diffusion"), tmp_path / "run")
    others, before = tiny.prepared_phantoms(tmp_path, seed=1).folder, listing(workdir)
    flags = [f"--workdir={workdir}", f"--data={others}", "--sampler=em", "--draws=3"]
    for program in (["accept", "--fit"], ["calibrate"]):
        assert call(*program, *flags).error == (
            f"The MRs of 1PA001, 1PA002, 1PA003 in --data={others} are not those that the network "
            "was trained on: give the data of its training."
        )
    assert listing(workdir) == before


def test_a_verdict_waits_for_another_process_that_changes_the_sidecar(fitted, usual, tmp_path):
    """Each would otherwise write over what the other has added since it read the sidecar."""
    (workdir, _), (name, mr) = fitted, usual
    done = call("synthesize", f"--workdir={workdir}", *mr, f"--output={tmp_path}", "--draws=3")
    assert done.status == 0, done.err
    path = tmp_path / f"{name}.json"
    judge = JudgedFolder(workdir, tmp_path, [], AcceptRequest(None, lambda *_: None))
    second = threading.Thread(target=judge, args=[name])
    with volume_locked(tmp_path, name):
        record = json.loads(path.read_text())
        assert "verdict" not in record["acceptance"]
        second.start()
        second.join(2)  # without a lock it would be done by now
        write_json(path, record | {"added": "by the first"})
    second.join()
    record = json.loads(path.read_text())
    assert record["added"] == "by the first" and "verdict" in record["acceptance"]
    assert not list(tmp_path.glob(".*.lock"))
    # A CT that another network made in the meantime is not judged by the earlier sidecar.
    write_json(path, record | {"draws": 5})
    with pytest.raises(InputError, match="was replaced while this program ran: give the same"):
        judge(name)


def test_a_synthesis_concludes_while_it_holds_its_volume(fitted, usual, tmp_path, monkeypatch):
    (workdir, _), (name, mr) = fitted, usual
    held = []

    def concluded(folder, *rest):
        held.append((folder / f".{name}.lock").exists())
        return conclude(folder, *rest)

    conclude = job.concluded
    monkeypatch.setattr(job, "concluded", concluded)
    flags = [f"--workdir={workdir}", *mr, f"--output={tmp_path}", "--draws=3", "--accept"]
    for _ in range(2):  # as it is made, and as it is complete
        assert call("synthesize", *flags).status in (0, 3)
    assert held == [True, True]
