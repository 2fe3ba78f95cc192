"""The SLURM scripts on a real SLURM: how it reads their headers, and a job that is preempted."""

import os
import re
import sys
import time

import pytest

from ..programs import ROOT
from ..test_multiprocess import Run, assert_trained_as_one_process
from . import slurm


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if slurm.why_not():
        pytest.skip(slurm.why_not())
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def test_slurm_would_start_the_scripts_as_they_are(cluster):
    def planned(script: str, *options: str) -> str:
        path = str(ROOT / "launch" / "cluster" / script)
        return slurm.call(cluster, "sbatch", "--test-only", *options, path)

    # 2 nodes, 8 tasks a node, 8 cores a task
    assert re.search(r"to start at \S+ using 128 processors on nodes", planned("train.sbatch"))
    assert re.search(r"to start at \S+ using 8 processors on nodes", planned("array.sbatch"))
    assert "not available" in planned("train.sbatch", "--nodes=3")


@pytest.mark.slow
def test_a_preempted_job_saves_queues_itself_and_goes_on(cluster, runs, phantoms, tmp_path):
    run = Run(tmp_path, phantoms)
    python = tmp_path / "python"  # the checkout's, on one CPU device, slowed
    python.write_text(
        "#!/bin/sh\nshift\nexport XLA_FLAGS=--xla_force_host_platform_device_count=2\n"
        f"export PYTHONPATH={ROOT} JAX_PLATFORMS=cpu\n"
        f'exec {sys.executable} {ROOT}/tests/worker.py {tmp_path}/count$SLURM_PROCID 0.2 "$@"\n'
    )
    python.chmod(0o755)
    log = tmp_path / "log"
    said = slurm.call(
        cluster | {"PYTHON": str(python), "PATH": os.environ["PATH"]},
        *("sbatch", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1"),
        *(f"--chdir={ROOT}", f"--output={log}", str(ROOT / "launch/cluster/train.sbatch")),
        *(f"--config={run.recipe}", f"--data={phantoms.folder}", f"--workdir={run.workdir}"),
    )
    job = said.split()[-1]
    assert job.isdigit(), said

    def state() -> str:
        told = re.search(r"JobState=(\S+)", slurm.call(cluster, "scontrol", "show", "job", job))
        return told[1] if told else ""  # a busy controller does not answer

    def wait_for(condition) -> None:
        until = time.monotonic() + 300
        while not condition():
            if time.monotonic() > until:
                known = (slurm.call(cluster, "scontrol", "show", what) for what in ("job", "node"))
                raise AssertionError("\n\n".join([log.read_text(), *known]))
            time.sleep(0.1)

    wait_for(lambda: (run.workdir / "checkpoints" / "12").is_dir())
    slurm.call(cluster, "scancel", "--batch", "--signal=TERM", job)  # as --signal=B:TERM does
    wait_for(lambda: "status 75: queued again" in log.read_text())
    assert log.read_text().count("stopped: SIGTERM at step") == 2
    wait_for(lambda: state() == "PENDING")
    # SLURM waits for two minutes with a job that was queued again. Ten seconds it needs: a job
    # that starts in the second in which its credential was revoked is killed as unstartable.
    slurm.call(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now+15")
    wait_for(lambda: state() in ("COMPLETED", "FAILED"))
    assert state() == "COMPLETED", log.read_text()
    assert_trained_as_one_process(run, runs("diffusion"))
    assert (run.workdir / "run.json").read_text().count('"time"') == 2
