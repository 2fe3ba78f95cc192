"""Volumes shared out over processes on the loopback: the same voxels, and none lost."""

import os
import signal
import socket
import subprocess
import sys
import time

import nibabel as nib
import numpy as np
import pytest

from ..programs import ROOT, call, listing
from .test_many import save

NAMES = ("anna", "bert", "carl")
# Libraries of other programs, samplers and flags. Each takes 0.3 s to 2 s to import.
UNUSED = {
    *("diffrax", "matplotlib", "scipy.stats", "SimpleITK", "grain", "highdicom"),
    "orbax.checkpoint",
}
SCRIPT = str(ROOT / "launch" / "synthesize.py")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    for seed, name in enumerate(NAMES):
        save(folder / f"{name}.nii.gz", 4 + seed, seed)
    return folder


@pytest.fixture(scope="module")
def alone(runs, cohort, tmp_path_factory):
    """What one process gives, and the flags of it."""
    out = tmp_path_factory.mktemp("alone") / "out"
    flags = [f"--workdir={runs('diffusion')}", f"--mr={cohort}", "--sampler=em", "--draws=2"]
    done = call("synthesize", *flags, f"--output={out}")
    assert done.status == 0, done.err
    return out, flags


def launch(log, *flags, **variables):
    """A process of two devices and these variables that writes to the file `log`."""
    common = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    common |= {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    common |= variables
    with log.open("w") as file:
        command = [sys.executable, SCRIPT, *map(str, flags)]
        return subprocess.Popen(command, env=common, stdout=file, stderr=file)


def start(count, folder, *flags):
    """Processes that find each other on the loopback, and a function that reads their logs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = [f"--coordinator=127.0.0.1:{port}", f"--processes={count}"]
    processes = [
        launch(folder / f"log{i}", *flags, *together, f"--process={i}") for i in range(count)
    ]
    return processes, lambda i: (folder / f"log{i}").read_text()


def wait_for(condition, log):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)


def statuses(processes, seconds=300):
    try:
        return [process.wait(seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def same(one, other):
    assert sorted(listing(one)) == sorted(listing(other))
    for path in one.rglob("*.nii.gz"):
        a, b = nib.load(path), nib.load(other / path.relative_to(one))
        np.testing.assert_array_equal(a.dataobj, b.dataobj, err_msg=path.name)
        np.testing.assert_array_equal(a.affine, b.affine)


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_part_though_one_refuses(alone, tmp_path):
    """The last of four volumes is damaged: its process's affair alone."""
    expected, flags = alone
    damaged, out = tmp_path / "dora.nii.gz", tmp_path / "out"
    damaged.write_bytes(b"none")
    processes, log = start(2, tmp_path, *flags, f"--mr={damaged}", f"--output={out}")
    assert statuses(processes) == [0, 2], log(0) + log(1)
    for i, names in enumerate((("anna", "carl"), ("bert",))):
        for name in NAMES:
            assert (f"sct/{name}.nii.gz: " in log(i)) == (name in names)
    assert "1 of 2 volumes were refused, and the others are done: dora." in log(1)
    same(expected, out)


@pytest.mark.slow
def test_the_volumes_of_a_process_that_died_are_done_by_the_next_run(alone, tmp_path):
    expected, flags = alone
    out = tmp_path / "out"
    flags = [*flags, f"--output={out}"]
    processes, log = start(2, tmp_path, *flags)
    wait_for((out / "anna.json").exists, tmp_path / "log0")
    processes[1].send_signal(signal.SIGKILL)
    first, second = statuses(processes)
    assert second == -signal.SIGKILL and first != 0
    for count in (2, 1):  # as many again, or fewer: the share does not matter
        processes, log = start(count, tmp_path, *flags)
        assert statuses(processes) == [0] * count, log(0)
    assert log(0).count("is complete: nothing to do") == 3
    same(expected, out)


@pytest.mark.slow
def test_a_second_process_waits_for_a_volume_in_work_until_the_first_is_killed(
    alone, cohort, tmp_path
):
    expected, flags = alone
    out, logs = tmp_path / "out", [tmp_path / "log0", tmp_path / "log1"]
    flags = [flag for flag in flags if not flag.startswith("--mr=")]
    flags += [f"--mr={cohort / 'anna.nii.gz'}", f"--output={out}"]
    # It has to compile its program, so that the volume is in work for seconds.
    first = launch(logs[0], *flags, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "empty"))
    wait_for((out / ".anna.lock").exists, logs[0])
    first.send_signal(signal.SIGSTOP)
    assert (out / ".anna.lock").exists()
    before = listing(out)
    second = launch(logs[1], *flags, PYTHONPROFILEIMPORTTIME="1")
    try:
        wait_for(lambda: f"waiting for process {first.pid} on" in logs[1].read_text(), logs[1])
        assert second.poll() is None and listing(out) == before
        first.kill()
        assert second.wait(300) == 0, logs[1].read_text()
    finally:
        first.kill()
        second.kill()
    for kind in ("sct", "sct_std"):
        one, other = (nib.load(p / kind / "anna.nii.gz") for p in (expected, out))
        np.testing.assert_array_equal(one.dataobj, other.dataobj)
    names = {"anna.json", "sct", "sct/anna.nii.gz", "sct_std", "sct_std/anna.nii.gz"}
    assert set(listing(out)) == names  # neither a lock nor a partial folder is left
    lines = logs[1].read_text().splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}
    assert "nibabel" in imported and not UNUSED & imported
