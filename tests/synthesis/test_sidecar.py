"""What lies on disk of a volume: found again, completed, and never overwritten."""

import json
import os
from pathlib import Path

import pytest

from sde_ct.errors import InputError
from sde_ct.synthesis.sidecar import VolumeOutputs, volume_locked

from ..programs import listing

OUTPUTS = ("sct/knee.nii.gz", "dicom/knee/sct", "dicom/knee/sct_std")
REQUEST = {"case": "knee", "seed": 0}


def outputs_of(folder: Path, name: str = "knee", outputs=OUTPUTS, request=REQUEST) -> VolumeOutputs:
    return VolumeOutputs(folder, name, request, outputs)


def write(stage: Path) -> None:
    """A file, and two folders of slices."""
    for path, text in {
        "sct/knee.nii.gz": "ct",
        "dicom/knee/sct/0001.dcm": "one",
        "dicom/knee/sct/0002.dcm": "two",
        "dicom/knee/sct_std/0001.dcm": "spread",
    }.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_text(text)


@pytest.fixture
def done(tmp_path):
    outputs_of(tmp_path).put(write, {"warnings": []})
    return tmp_path


def test_every_result_is_told_with_its_hash(done):
    told = json.loads((done / "knee.json").read_text())
    assert set(told) == {"case", "seed", "warnings", "results"}
    assert set(told["results"]) == set(OUTPUTS)
    # Of "ct", by sha256sum.
    sha = "f8dcb34308e5c69f46a33cafa62bd922476b18c78a114eb144e34a5e374f7d60"
    assert told["results"]["sct/knee.nii.gz"] == sha
    assert outputs_of(done).are_complete()
    assert not (done / ".partial-knee").exists()


@pytest.mark.parametrize("lost", ["sct/knee.nii.gz", "dicom/knee/sct_std/0001.dcm"])
def test_what_is_missing_is_made_and_what_is_there_is_left(done, lost):
    """A DICOM series lost beside another is missed too."""
    before = listing(done)
    (done / lost).unlink()
    if lost.endswith(".dcm"):
        (done / lost).parent.rmdir()
    kept = {p: p.stat().st_mtime_ns for p in done.rglob("*") if p.is_file() and p.suffix != ".json"}
    assert not outputs_of(done).are_complete()
    outputs_of(done).put(write, {"warnings": []})
    assert listing(done) == before and outputs_of(done).are_complete()
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


@pytest.mark.parametrize(
    "path", ["sct/knee.nii.gz", "dicom/knee/sct/0002.dcm", "dicom/knee/sct/mine.txt"]
)
def test_what_was_changed_since_is_refused_and_left(done, path):
    """By a user who edited a result, or put files of his own among the slices."""
    (done / path).write_text("mine")
    before, more = listing(done), outputs_of(done, outputs=(*OUTPUTS, "draws/knee_00.nii.gz"))
    result = next(done / output for output in OUTPUTS if path.startswith(output))
    for attempt in (outputs_of(done).are_complete, more.are_complete, lambda: more.put(write, {})):
        with pytest.raises(InputError) as error:
            attempt()
        assert str(error.value).startswith(f"{result} has changed since it was written")
        assert listing(done) == before


def test_a_file_of_somebody_elses_where_more_is_asked_is_refused_and_left(tmp_path):
    """The account of the first results says nothing of a draw: it is not ours."""
    outputs_of(tmp_path, outputs=OUTPUTS[:1]).put(write, {})
    for path in ("draws/knee_00.nii.gz", "dicom/knee/sct/mine.txt"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("mine")
        before = listing(tmp_path)
        more = outputs_of(tmp_path, outputs=(*OUTPUTS, "draws/knee_00.nii.gz"))
        with pytest.raises(InputError, match="exists: give another --output or remove it"):
            more.are_complete()
        assert listing(tmp_path) == before
        (tmp_path / path).unlink()
        (tmp_path / path).parent.rmdir()


def test_results_asked_for_later_join_the_account(tmp_path):
    outputs_of(tmp_path, outputs=OUTPUTS[:1]).put(write, {"notes": ["kept"]})
    outputs_of(tmp_path, outputs=OUTPUTS[1:]).put(write, {"warnings": []})
    told = json.loads((tmp_path / "knee.json").read_text())
    assert set(told["results"]) == set(OUTPUTS) and told["notes"] == ["kept"]
    assert outputs_of(tmp_path).are_complete()


def killed(folder: Path, monkeypatch, after: int) -> None:
    """A run killed when it had moved so many results."""
    moved, replace = [], os.replace

    def move(source, target):
        if "knee.json" not in Path(source).name and len(moved) == after:
            raise KeyboardInterrupt
        if ".partial-knee" not in str(target):
            moved.append(target)
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.replace", move)
        outputs_of(folder).put(write, {})


@pytest.mark.parametrize("after", [0, 1, 2])
def test_the_moves_of_a_killed_run_are_ended(tmp_path, monkeypatch, after):
    outputs_of(tmp_path / "whole").put(write, {})
    killed(tmp_path / "cut", monkeypatch, after)
    assert not (tmp_path / "cut" / "knee.json").exists()
    assert outputs_of(tmp_path / "cut").are_complete()  # nothing is computed again
    assert listing(tmp_path / "cut") == listing(tmp_path / "whole")


def test_a_file_put_among_what_a_killed_run_had_moved_is_refused(tmp_path, monkeypatch):
    killed(tmp_path, monkeypatch, 1)
    (tmp_path / "sct" / "knee.nii.gz").write_text("mine")
    with pytest.raises(InputError, match=r"knee.nii.gz has changed since it was written"):
        outputs_of(tmp_path).are_complete()
    assert (tmp_path / "sct" / "knee.nii.gz").read_text() == "mine"


@pytest.mark.parametrize("text", ["", '{"case": "knee", "se', "[]"])
def test_a_killed_runs_account_cut_short_stops_nobody(tmp_path, text):
    (tmp_path / ".partial-knee").mkdir()
    (tmp_path / ".partial-knee" / "knee.json").write_text(text)
    assert not outputs_of(tmp_path).are_complete()
    outputs_of(tmp_path).put(write, {})
    assert outputs_of(tmp_path).are_complete() and not (tmp_path / ".partial-knee").exists()


def test_another_request_is_refused_by_what_differs(done):
    before = listing(done)
    with pytest.raises(InputError, match=r"describes another request \(seed: 0 -> 1\)"):
        outputs_of(done, request=REQUEST | {"seed": 1}).are_complete()
    (done / "knee.json").write_text("mine")
    with pytest.raises(InputError, match=r"knee.json is not a sidecar of synthesis"):
        outputs_of(done).are_complete()
    assert (done / "knee.json").read_text() == "mine"
    assert {k: v for k, v in listing(done).items() if k != "knee.json"} == {
        k: v for k, v in before.items() if k != "knee.json"
    }


@pytest.mark.parametrize("name", ["request", "results", "account"])
def test_every_name_of_a_volume_has_its_account(tmp_path, name):
    """No file of the program's own lies where a volume's may."""
    one = outputs_of(tmp_path, name, (f"sct/{name}.nii.gz",))

    def make(stage: Path) -> None:
        (stage / "sct").mkdir()
        (stage / f"sct/{name}.nii.gz").touch()

    one.put(make, {})
    assert json.loads((tmp_path / f"{name}.json").read_text())["seed"] == 0 and one.are_complete()


def test_a_failed_write_leaves_nothing(tmp_path):
    def full(stage: Path) -> None:
        write(stage)
        raise OSError("no space left on device")

    outputs = outputs_of(tmp_path / "out")
    with pytest.raises(OSError, match="no space"), volume_locked(outputs.folder, "knee"):
        outputs.put(full, {})
    assert not list(tmp_path.iterdir())
