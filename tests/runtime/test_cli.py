"""Programs: `launch/prepare.py` from the shell, its errors as a user meets them."""

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from sde_ct.data.prepared import read_prepared

ROOT = Path(__file__).resolve().parents[2]


def program(*arguments: str, name: str = "prepare") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"launch.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture
def pairs(tmp_path) -> Path:
    folder = tmp_path / "pairs"
    for number, name in enumerate(("anna", "bert")):
        (folder / name).mkdir(parents=True)
        body = np.zeros((24, 20, 4))
        body[4:20, 3 + number : 17] = 1
        tissue = body * np.random.default_rng(number).uniform(150, 250, body.shape)
        for kind, array in (("mr", tissue), ("ct", 1040 * body - 1000)):
            image = nib.Nifti1Image(array.astype(np.int16), np.diag([2.0, 2.0, 4.0, 1.0]))
            nib.save(image, folder / name / f"{kind}.nii.gz")
    return folder


def test_prepare_from_the_shell_names_every_patient(pairs, tmp_path):
    output = tmp_path / "data"
    done = program(
        "--source=pairs", f"--input={pairs}", f"--output={output}", "--size=24", "--test=bert"
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines() if line[:1].strip()] == [
        ["anna", "train"],
        ["bert", "test"],
        [f"{output}:", "2"],
    ]
    assert sorted(path.name for path in (output / "qc").iterdir()) == ["anna.png", "bert.png"]
    data = read_prepared(output)
    assert data.size == (24, 24) and data.split["test"] == ("bert",)


def test_a_tilde_is_the_home_folder(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = ["--source=pairs", "--size=24", "--output=~/data"]
    assert program(*usual, "--input=~/pairs").returncode == 0
    assert len(read_prepared(tmp_path / "data").split["train"]) == 1


def test_unusable_input_is_one_sentence_and_writes_nothing(pairs, tmp_path):
    for name in ("anna", "bert"):
        (pairs / name / "ct.nii.gz").write_bytes(b"cut")
    done = program("--source=pairs", f"--input={pairs}", f"--output={tmp_path / 'd'}")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    error = done.stderr.splitlines()[-1]
    assert error.startswith("error: ") and "anna/ct.nii.gz is damaged" in error
    assert not (tmp_path / "d").exists()


PROGRAM = """
from absl import flags
from ml_collections import config_flags
from sde_ct.runtime.cli import run
from sde_ct.errors import InputError
steps = flags.DEFINE_integer("steps", 3, "Steps.")
flags.DEFINE_float("limit", None, "Limit.", lower_bound=0.001)
flags.DEFINE_float("most", None, "Most.", upper_bound=9)
flags.DEFINE_bool("whole", False, "All.")
flags.DEFINE_enum("kind", "a", ["a", "b"], "Kind.")
flags.DEFINE_string("needed", None, "Needed.", required=True)
config_flags.DEFINE_config_file("config")
def main():
    if steps.value == 7:
        raise OSError
    if steps.value == 8:
        raise OSError(28, "No space left on device", "out/a.nii")
    if steps.value == 9:
        bytearray(2**62)
    if steps.value == 10:
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
    if steps.value == 11:
        raise KeyboardInterrupt
    if steps.value < 1:
        raise InputError(f"steps = {steps.value}: give 1 or more")
run(main)
"""

RECIPE = """
import dataclasses
@dataclasses.dataclass
class Config:
    beta: float = 1.0
def get_config():
    return Config()
"""

RUNS = {
    "refused": (["--steps=0"], 2, "error: steps = 0: give 1 or more"),
    "no text": (["--steps=7"], 2, "error: OSError without a text"),
    "full disk": (["--steps=8"], 2, "device: 'out/a.nii': make room and give the same command"),
    "no memory": (["--steps=9"], 2, "error: the memory is too small (MemoryError): give smaller"),
    "no device memory": (["--steps=10"], 2, "(RESOURCE_EXHAUSTED: Out of memory allocating 9"),
    "Ctrl-C": (["--steps=11"], 130, "stopped by Ctrl-C; complete files are kept"),
    "stray word": (["now"], 2, "error: argument 'now' is not a flag: write --name=value"),
    "misspelt flag": (
        ["--step=3"],
        2,
        "error: --step is not a flag of this program: did you mean --steps?",
    ),
    "unknown flag": (
        ["--abcdef=3"],
        2,
        "error: --abcdef is not a flag of this program: see --help",
    ),
    "ill-typed flag": (["--steps=x"], 2, "error: --steps=x: give a whole number"),
    "ill-typed switch": (["--whole=5"], 2, "error: --whole=5: give true or false"),
    "a limit of no number": (["--limit=nan"], 2, "error: --limit=nan: give a finite number"),
    "an infinite limit": (["--limit=inf"], 2, "error: --limit=inf: give a finite number"),
    "an infinite most": (["--most=-inf"], 2, "error: --most=-inf: give a finite number"),
    "no choice": (["--kind=c"], 2, "error: --kind=c: give one of a, b"),
    "missing flag": ([], 2, "error: --needed is missing: see --help"),
    "misspelt field": (["--config.bta=3"], 2, "error: --config: there is no field 'bta'"),
    "ill-typed field": (["--config.beta=x"], 2, "error: --config.beta=x: give a number"),
    "help": (["--help"], 0, "Steps."),
}


@pytest.mark.parametrize("case", RUNS)
def test_status_and_message_of_a_program(tmp_path, case):
    arguments, status, message = RUNS[case]
    (tmp_path / "recipe.py").write_text(RECIPE)
    needed = [] if case == "missing flag" else ["--needed=1"]
    arguments = [f"--config={tmp_path / 'recipe.py'}", *needed, *arguments]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    assert message in done.stdout + done.stderr and "Traceback" not in done.stderr
