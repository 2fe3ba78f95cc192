"""Processes for real, on the loopback: shares, checkpoints, the end of all and of one."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from sde_ct.methods import build_method
from sde_ct.runtime import peers
from sde_ct.synthesis import load
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.state import fresh_state

from . import tiny
from .programs import ROOT

PAUSE = 0.1  # seconds a step, so that signals come in the middle of the run


def free_port(among: range) -> int:
    while True:
        port = random.choice(among)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)):
                return port


def by_flags(count: int) -> Callable[[int], tuple[list[str], dict[str, str]]]:
    port = free_port(range(20000, 30000))
    return lambda i: (
        [f"--coordinator=127.0.0.1:{port}", f"--processes={count}", f"--process={i}"],
        {},
    )


def by_slurm(count: int) -> Callable[[int], tuple[list[str], dict[str, str]]]:
    """What `srun` tells its tasks; JAX makes the port of the job's number."""
    port = free_port(range(61440, 65536))
    step = {"SLURM_JOB_ID": str(port - 61440), "SLURM_STEP_NODELIST": "127.0.0.1"}
    step["SLURM_NTASKS"] = str(count)
    return lambda i: ([], step | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)})


class Run:
    """A training of several processes in one work directory."""

    def __init__(self, folder: Path, phantoms, **training):
        self.folder, self.workdir = folder, folder / "run"
        self.config, self.data = tiny.experiment(**training), phantoms
        self.recipe = tiny.write_recipe(self.config, folder / "recipe.py")

    def start(self, count: int, devices: int, way=by_flags, pause: float = PAUSE) -> None:
        told = way(count)
        common = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            "PYTHONPATH": str(ROOT),
        }
        self.processes = []
        for i in range(count):
            flags, variables = told(i)
            command = [sys.executable, str(ROOT / "tests" / "worker.py"), self.counts(i), pause]
            command += [f"--config={self.recipe}", f"--data={self.data.folder}"]
            command += [f"--workdir={self.workdir}", *flags]
            with (self.folder / f"log{i}").open("w") as log:
                self.processes.append(
                    subprocess.Popen(
                        [str(part) for part in command], env=common | variables, stderr=log,
                        stdout=log,
                    )
                )  # fmt: skip

    def counts(self, i: int) -> Path:
        return self.folder / f"count{i}"

    def log(self, i: int) -> str:
        return (self.folder / f"log{i}").read_text()

    def wait_for_step(self, step: int) -> None:
        checkpoints = Checkpoints(self.workdir)
        while (checkpoints.latest or 0) < step:
            codes = [p.poll() for p in self.processes]
            assert codes == [None] * len(codes), self.log(0) + self.log(1)
            time.sleep(0.02)

    def statuses(self, seconds: float = 300) -> list[int]:
        """Of the processes, in order, when all have ended."""
        try:
            return [process.wait(seconds) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def final(self) -> tuple[int | None, list[np.ndarray]]:
        """The newest step and its state."""
        return restored(self.workdir, self.config, self.data.size)


def restored(workdir, config, size) -> tuple[int | None, list[np.ndarray]]:
    checkpoints, method = Checkpoints(workdir), build_method(config)
    state, _ = checkpoints.restore(lambda: fresh_state(method, config, size))
    return checkpoints.latest, jax.tree.leaves(jax.device_get(state))


def assert_trained_as_one_process(run: Run, whole: Path) -> None:
    """The same sums in another order: the tolerance of `test_one_device_trains_as_four`."""
    step, several = run.final()
    last, one = restored(whole, run.config, run.data.size)
    start = jax.tree.leaves(jax.device_get(tiny.initial_state(run.config, run.data)))
    assert step == last == 24
    params = slice(0, len(jax.tree.leaves(tiny.initial_state(run.config, run.data).params)))
    way, gap = (
        np.sqrt(
            sum(np.sum((a - b) ** 2.0) for a, b in zip(one[params], other[params], strict=True))
        )
        for other in (start, several)
    )
    assert way > 1 and gap < 1e-2 * way


@pytest.mark.slow
def test_two_processes_stop_together_go_on_and_train_as_one(runs, phantoms, tmp_path):
    run = Run(tmp_path, phantoms)
    run.start(2, devices=2)
    run.wait_for_step(12)
    run.processes[1].send_signal(signal.SIGTERM)  # one machine is taken away
    assert run.statuses() == [75, 75], run.log(0) + run.log(1)
    ends = [line for i in (0, 1) for line in run.log(i).splitlines() if "stopped: SIGTERM" in line]
    assert len(ends) == 2 and ends[0] == ends[1]
    step, _ = run.final()
    assert 12 <= step < 24 and f"continues from step {step}" in ends[0]

    run.start(2, devices=2, way=by_slurm, pause=0)
    assert run.statuses() == [0, 0], run.log(0) + run.log(1)
    assert_trained_as_one_process(run, runs("diffusion"))
    # One wrote: a second start of the record and of nothing else.
    assert sorted(p.name for p in (run.workdir / "checkpoints").iterdir()) == [str(step), "24"]
    assert len((run.workdir / "run.json").read_text().split('"time"')) == 3
    # Half of each batch of 8; ahead of the training Grain reads a few batches, and one slice.
    steps = 24 - step
    for i in (0, 1):
        assert 4 * steps <= int(run.counts(i).read_text()) - looks(i, phantoms) <= 4 * steps + 41


def looks(i: int, phantoms) -> int:
    """Slices that process i reads to validate: the first alone does."""
    return 0 if i else len(phantoms.of("validation")[0])


@pytest.mark.slow
def test_what_one_finds_unusable_ends_all_and_none_is_started_again(runs, phantoms, tmp_path):
    """The first alone looks at the work directory: it is another experiment's."""
    run = Run(tmp_path, phantoms)
    shutil.copytree(runs("cnn"), run.workdir)
    run.start(2, devices=1, pause=0)
    assert run.statuses(120) == [2, 2], run.log(0) + run.log(1)
    for i in (0, 1):
        [told] = [line for line in run.log(i).splitlines() if line.startswith("error: ")]
        assert "was trained with another configuration (method: cnn -> diffusion" in told


@pytest.mark.slow
def test_two_processes_start_from_the_same_weights(runs, phantoms, tmp_path):
    run = Run(tmp_path, phantoms, steps=1, learning_rate=1e-9)
    init = [f"--init={runs('diffusion')}"]
    of = by_flags(2)
    run.start(2, devices=1, pause=0, way=lambda _: lambda i: (of(i)[0] + init, {}))
    assert run.statuses() == [0, 0], run.log(0) + run.log(1)
    assert "starts from the best weights" in run.log(0)
    assert "starts from the best weights" not in run.log(1)
    ours, theirs = (load(workdir).params for workdir in (run.workdir, runs("diffusion")))
    for one, other in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_ctrl_c_to_all_saves(phantoms, tmp_path):
    run = Run(tmp_path, phantoms)
    run.start(2, devices=1)
    run.wait_for_step(12)
    for process in run.processes:
        process.send_signal(signal.SIGINT)
    assert run.statuses() == [75, 75], run.log(0) + run.log(1)
    assert 12 <= run.final()[0] < 24


@pytest.mark.slow
def test_four_processes_train_as_one(runs, phantoms, tmp_path):
    run = Run(tmp_path, phantoms)
    run.start(4, devices=1, pause=0)
    assert run.statuses() == [0] * 4, run.log(0)
    assert_trained_as_one_process(run, runs("diffusion"))
    for i in range(4):
        assert 48 <= int(run.counts(i).read_text()) - looks(i, phantoms) <= 48 + 21


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_death_of_one_ends_all_and_a_restart_goes_on(victim, runs, phantoms, tmp_path):
    run = Run(tmp_path, phantoms)
    run.start(2, devices=2)
    run.wait_for_step(12)
    run.processes[victim].kill()
    killed = time.monotonic()
    statuses = run.statuses(peers.HEARTBEAT + 30)
    assert time.monotonic() - killed < peers.HEARTBEAT + 30
    other = 1 - victim
    # LOST where a collective failed; an abort where JAX's own watch came first.
    assert statuses[other] in (peers.LOST, -signal.SIGABRT), run.log(other)
    told = [line for line in run.log(other).splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and told[0].endswith(peers.REMEDY), run.log(other)

    run.start(2, devices=2, pause=0)
    assert run.statuses() == [0, 0], run.log(0) + run.log(1)
    assert_trained_as_one_process(run, runs("diffusion"))
