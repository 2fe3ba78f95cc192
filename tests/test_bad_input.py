"""What a user gets wrong, program by program: one sentence, nothing written, nothing lost."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from . import broken, broken_runs, tiny
from . import place as sound
from .programs import ROOT, call, listing

AFFINE = np.diag([8.0, 8.0, 10.0, 1.0])
RECIPE = """
from sde_ct.config import *
def get_config():
    return Experiment(
        method="cnn",
        network=NetworkConfig(channels=8, multipliers=(1,), blocks=1, patch=2, groups=2),
        data=DataConfig(batch_size=4),
        training=TrainingConfig(steps=2),
    )
"""


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nib.save(nib.Nifti1Image(array, affine), path)


def load(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture
def place(tmp_path) -> Path:
    """Two patients in `in/anna` and `in/bert`, a recipe, and the training data made of them."""
    x, y = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 12), indexing="ij")
    body = np.repeat((x**2 + y**2 < 0.8)[..., None], 5, axis=2)
    for number, name in enumerate(("anna", "bert")):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 20, body.shape)
        save(folder / "mr.nii.gz", (200 * body + noise).astype(np.float32))
        save(folder / "ct.nii.gz", (np.where(body, 150, -1000) + noise).astype(np.int16))
    (tmp_path / "recipe.py").write_text(RECIPE)
    return tmp_path


def prepare(place: Path, *flags: str):
    usual = ["--source=pairs", f"--input={place / 'in'}", f"--output={place / 'data'}"]
    return call("prepare", *usual, "--test=bert", "--validation=", *flags)


def train(place: Path, *flags: str):
    usual = [f"--config={place / 'recipe.py'}", f"--data={place / 'data'}"]
    return call("train", *usual, f"--workdir={place / 'run'}", *flags)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def poison(path: Path) -> None:
    array = load(path).astype(np.float32)
    array[3, 4, 2] = np.nan
    save(path, array)


# What is done to bert's file, and what the sentence must hold beside the file's name.
FILES = {
    "missing": ("ct", Path.unlink, "holds no CT that matches 'ct*': add the file"),
    "truncated": ("mr", truncate, "is damaged or not NIfTI: copy or export it again"),
    "not finite": ("ct", poison, "holds 1 voxels that are not finite: replace them"),
    "shape": ("ct", lambda p: save(p, load(p)[..., 1:]), "different grids (shapes (16, 12, 4)"),
    "place": ("ct", lambda p: save(p, load(p), AFFINE + np.eye(4, k=3)), "(corners 1 mm apart"),
    "spacing": ("ct", lambda p: save(p, load(p), AFFINE * 1.01), "grids (corners 1.54 mm apart"),
    "offset": ("ct", lambda p: save(p, load(p) + 1024), "is not in HU (values 24 to 1193)"),
    "scaled": ("ct", lambda p: save(p, load(p) / 2000.0), "it looks scaled to [0, 1] or [-1, 1]"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_prepare_refuses_a_file(name, place):
    kind, spoil, sentence = FILES[name]
    path = place / "in" / "bert" / f"{kind}.nii.gz"
    spoil(path)
    before = listing(place)
    done = prepare(place)
    assert done.status == 2 and "Traceback" not in done.err
    assert done.error.endswith("1 of 2 patients were refused, and the others are prepared: bert.")
    (line,) = (line for line in done.out.splitlines() if line.startswith("bert"))
    assert line.startswith("bert  refused  ") and sentence in line
    assert name == "missing" or path.name in line
    after = listing(place)
    assert {name: after.get(name) for name in before} == before
    assert list((place / "data" / "cases").iterdir()) == [place / "data" / "cases" / "anna"]


def test_prepare_ends_with_an_error_where_no_patient_is_left(place):
    for name in ("anna", "bert"):
        truncate(place / "in" / name / "ct.nii.gz")
    before = listing(place)
    error = prepare(place).error
    assert "no patient is usable, 2 of 2 were refused" in error and "ct.nii.gz is damaged" in error
    assert listing(place) == before


FLAGS = {
    "empty": (["--input=EMPTY"], "holds no patients, because no file matches"),
    "no folder": (["--input=nowhere"], "nowhere is not a folder"),
    "two splits": (["--test=bert", "--validation=bert"], "patient bert is in"),
    "stranger": (["--test=carl"], "patient carl is not in the data"),
    "nobody trains": (["--test=anna,bert"], "no patient is left for training"),
    "size": (["--size=large"], "--size=large: give one number, or two as h,w"),
    "existing": (["--output=EMPTY"], "exists: choose another output"),
    "t1": (["--t1"], "--t1 works only with --source=gold_atlas: leave it out"),
    "no tag": (["--choose=TE=90"], "--choose=TE=90: write a DICOM keyword and its value"),
    "choose": (
        ["--source=synthrad2023", "--choose=EchoTime=9"],
        "--choose works only with --source=pairs",
    ),
    "choose of two": (
        ["--mr=m*", "--mr=t*", "--choose=EchoTime=9"],
        "--choose is for one MR contrast",
    ),
    "patients": (["--patients=3"], "--patients works only with --source=phantom"),
    "mask": (["--source=synthrad2023", "--mask=m*"], "--mask works only with --source=pairs"),
    "two ways to split": (["--split=literature"], "determines the test patients: leave out --test"),
    "input": (["--output=INPUT"], "in is the input folder: give an output beside the input folder"),
    "in the input": (["--output=INPUT/data"], "in/data lies in the input folder"),
    "around the input": (["--output=INPUT/.."], "holds the input folder"),
}


@pytest.mark.parametrize("name", FLAGS)
def test_prepare_refuses_a_request(name, place):
    flags, sentence = FLAGS[name]
    (place / "empty").mkdir()
    before = listing(place)
    places = {"EMPTY": place / "empty", "INPUT": place / "in"}
    for word, folder in places.items():
        flags = [flag.replace(word, str(folder)) for flag in flags]
    assert sentence in prepare(place, *flags).error
    assert listing(place) == before


def test_train_refuses_and_leaves_no_trace(place):
    assert "launch/prepare.py --output=" in train(place).error
    assert prepare(place).status == 0
    before = listing(place)
    for flags, sentence in [
        (["--config.data.neighbours=3"], "anna has 5 slices, but the network needs 7"),
        (["--config.network.patch=5"], "12 x 16, but this network needs multiples of 5"),
        (["--config.training.steps=0"], "config.training.steps=0: give a number above 0"),
        (
            ["--config.method=unet"],
            "config.method='unet': give one of diffusion, residual",
        ),
        (["--config.network.multipliers=1,-2"], "config.network.multipliers=(1, -2)"),
        ([f"--config={place / 'nix.py'}"], "nix.py: there is no such recipe"),
        ([f"--workdir={place / 'recipe.py'}"], "recipe.py is a file"),
    ]:
        assert sentence in train(place, *flags).error
    index = place / "data" / "dataset.json"
    values = json.loads(index.read_text())
    values["split"]["test"] = ["anna", "bert"]
    index.write_text(json.dumps(values))
    assert "patient anna is in train and in test" in train(place).error
    index.write_bytes(before["data/dataset.json"])
    shutil.rmtree(place / "data" / "cases" / "bert")
    assert "mr.npy is missing or damaged: prepare the data again" in train(place).error
    kept = {
        name: content for name, content in before.items() if not name.startswith("data/cases/bert")
    }
    assert listing(place) == kept


def test_an_override_reaches_the_training(place, monkeypatch):
    assert prepare(place).status == 0
    seen = []
    monkeypatch.setattr("sde_ct.training.loop.train", lambda config, *_, **__: seen.append(config))
    monkeypatch.setattr("sde_ct.training.weights.summary", lambda workdir: "")
    done = train(place, "--config.sde.sigma_max=20", "--config.network.multipliers=1,2")
    assert done.status == 0, done.err
    assert seen[0].sde.sigma_max == 20.0 and seen[0].network.multipliers == (1, 2)


@pytest.fixture(scope="module")
def workdir(phantoms, tmp_path_factory) -> Path:
    return tiny.untrained(tiny.experiment("cnn"), phantoms, tmp_path_factory.mktemp("run") / "cnn")


def test_a_workdir_of_another_configuration_is_refused(workdir, phantoms, tmp_path):
    recipe = tiny.write_recipe(tiny.experiment("cnn"), tmp_path / "recipe.py")
    before = listing(workdir)
    usual = [f"--config={recipe}", f"--data={phantoms.folder}", f"--workdir={workdir}"]
    error = call("train", *usual, "--config.training.seed=5").error
    assert "another configuration (training.seed: 0 -> 5): give another --workdir" in error
    after = listing(workdir)
    after.pop("lock", None)  # whose it was
    assert after == before


def test_synthesize_refuses_damaged_files(place, workdir):
    mr = place / "in" / "bert" / "mr.nii.gz"
    truncate(mr)
    usual = [f"--output={place / 'out'}", f"--mr={mr}"]
    error = call("synthesize", *usual, f"--workdir={workdir}").error
    assert "bert/mr.nii.gz is damaged" in error
    (place / "experiment.json").write_text("{")
    error = call("synthesize", *usual, f"--workdir={place}").error
    assert "experiment.json is damaged" in error and not (place / "out").exists()


def test_a_volume_shorter_than_the_network_needs_is_refused(place, phantoms):
    config = tiny.experiment("cnn")
    config.data.neighbours = 2
    workdir = tiny.untrained(config, phantoms, place / "run")
    short = place / "short.nii.gz"
    save(short, load(place / "in" / "anna" / "mr.nii.gz")[..., :3])
    done = call("synthesize", f"--workdir={workdir}", f"--mr={short}", f"--output={place / 'o'}")
    assert (
        "short has 3 slices, but the network needs 5" in done.error and not (place / "o").exists()
    )


def test_evaluate_refuses_what_does_not_fit(place):
    (place / "sct").mkdir()
    usual = [
        f"--prediction={place / 'sct'}",
        f"--reference={place / 'in'}",
        f"--output={place / 's'}",
    ]
    assert "holds no predictions" in call("evaluate", *usual).error
    ct = load(place / "in" / "anna" / "ct.nii.gz")
    save(place / "sct" / "anna.nii.gz", ct, AFFINE * 2)
    before = listing(place)
    assert "lies on another grid than" in call("evaluate", *usual).error
    assert "nowhere does not exist" in call("evaluate", *usual, "--prediction=nowhere").error
    assert "z_slices = 'odd': write start:stop" in call("evaluate", *usual, "--z_slices=odd").error
    save(place / "sct" / "carl.nii.gz", ct)
    (place / "sct" / "anna.nii.gz").unlink()
    assert "holds no reference CT for carl" in call("evaluate", *usual).error
    assert not (place / "s").exists() and "in/anna/ct.nii.gz" in before


SHELL = {
    "demo": ["--patients=2"],
    "synthesize": ["--workdir=nowhere", "--mr=nowhere.nii", "--output=nowhere", "--sampler=em"],
}


@pytest.mark.parametrize("name", SHELL)
def test_from_the_shell(name, tmp_path):
    """As a user starts it, from any folder."""
    command = [sys.executable, str(ROOT / "launch" / f"{name}.py"), *SHELL[name]]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert ("nowhere" if name != "demo" else "patients") in done.stderr
    assert not list(tmp_path.iterdir())


BROKEN = broken.table()


RUNS = broken_runs.table()


def test_the_table_is_long():
    assert len(BROKEN) >= 130 and len(RUNS) >= 130
    assert {run.program for run in RUNS.values()} == {
        *("prepare", "train", "synthesize", "evaluate", "calibrate", "doctor")
    }


@pytest.fixture(scope="module")
def sound_place(tmp_path_factory) -> Path:
    return sound.build(tmp_path_factory.mktemp("sound"))


@pytest.mark.parametrize("name", RUNS)
def test_a_request_is_refused_and_nothing_is_lost(name, sound_place, tmp_path):
    run = RUNS[name]
    root = shutil.copytree(sound_place, tmp_path / "p")
    run.spoil(root)
    before = listing(root)
    done = call(run.program, *sound.flags(root, run.program, run.flags))
    if done.status == 1 and run.program == "doctor":  # which tells a fault on its screen
        said = " ".join(done.out.split())
    elif done.status == 2 and re.search("patients were refused, and the others", done.err):
        said = done.out
    else:
        assert done.status == 2, done.out + done.err
        said = done.error
    assert re.search(run.sentence, said), said
    after = listing(root)
    assert {name: after.get(name) for name in before} == before
    new = [path for path in after if path not in before and not path.endswith("lock")]
    assert all(path.startswith("out") and run.program == "prepare" for path in new), new


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_patient_is_refused_and_nothing_is_lost(name, tmp_path):
    folder = tmp_path / "in" / "bert"
    folder.mkdir(parents=True)
    BROKEN[name].make(folder)
    before = listing(tmp_path)
    masks = ["--mask=mask*"] if (folder / "mask.nii.gz").exists() else []
    done = prepare(tmp_path, "--test=", *masks)
    assert done.status == 2 and re.search(BROKEN[name].sentence, done.error), done.err
    assert listing(tmp_path) == before and not re.search("warning", done.err, re.IGNORECASE)


def test_one_broken_patient_stops_no_other(place):
    folder = place / "in" / "bert"
    shutil.rmtree(folder)
    folder.mkdir()
    BROKEN["dicom missing"].make(folder)
    done = prepare(place)
    assert done.status == 2 and "bert  refused" in done.out + done.err
    told = (place / "data" / "report.json").read_text()
    assert "lacks a slice" in told and "anna" in (place / "data" / "dataset.json").read_text()


@contextlib.contextmanager
def full_disk(room: int):
    """The kernel lets no file grow beyond `room` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("room", [0, 100, 1000])
def test_a_full_disk_leaves_no_half_written_data(room, place):
    before = listing(place)
    with full_disk(room):
        done = prepare(place)
    assert done.status == 2 and re.search(r"File too large: '.*/\.?data", done.error)
    assert not (place / "data" / "dataset.json").exists()
    assert {k: v for k, v in listing(place).items() if not k.startswith("data")} == before
    assert prepare(place).status == 0  # what is left does not stop the next run


@pytest.mark.parametrize("room", [0, 1000])
def test_a_full_disk_leaves_no_half_written_ct(room, place, workdir):
    before = listing(place)
    mr = place / "in" / "bert" / "mr.nii.gz"
    usual = [f"--workdir={workdir}", f"--mr={mr}", f"--output={place / 'out'}", "--dicom"]
    with full_disk(room):
        done = call("synthesize", *usual)
    assert done.status == 2 and re.search("File too large: '.*/out/", done.error)
    left = {k: v for k, v in listing(place).items() if not k.startswith("out")}
    assert left == before and not list(place.glob("out/**/*.nii.gz")) + list(
        place.glob("out/*.json")
    )


def test_a_full_disk_leaves_no_half_of_the_results(sound_place, tmp_path):
    """Only the report is too large for the disk; the next run must find room for all files."""
    usual = sound.flags(sound_place, "evaluate", "--prediction={sct}")
    usual = [flag for flag in usual if not flag.startswith("--output")]
    out = tmp_path / "out"
    with full_disk(30_000):
        error = call("evaluate", *usual, f"--output={out}").error
    assert "File too large" in error and "report.html" in error and not out.exists()
    assert call("evaluate", *usual, f"--output={out}").status == 0
    assert {"metrics.csv", "metrics.json", "report.html"} == {p.name for p in out.iterdir()}


NOWHERE = {
    "below a file": "recipe.py/data",
    "name too long": "x" * 300,
    "in the kernel": "/proc/nothing/data",
    "not allowed": "locked/data",
}


@pytest.mark.parametrize("where", NOWHERE)
def test_an_output_that_cannot_be_written_is_named(where, place):
    (place / "locked").mkdir(mode=0o555)
    if where == "not allowed" and os.access(place / "locked", os.W_OK):
        pytest.skip("this user may write everywhere")
    before = listing(place)
    output = place / NOWHERE[where]
    done = prepare(place, f"--output={output}")
    assert done.status == 2 and output.parts[-2][:20] in done.error + output.parts[-1]
    assert listing(place) == before
