"""How the processes of a run find each other, and which of JAX's errors mean a lost one.

Several processes for real are in `test_multiprocess.py`.
"""

import subprocess
import sys

import jax
import pytest

from sde_ct.errors import InputError
from sde_ct.runtime import peers

from ..programs import ROOT
from ..test_multiprocess import free_port

SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables given, of SLURM's none but them."""

    def set_to(**variables):
        for name in (*SLURM, "SLURM_STEP_NODELIST"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


def test_a_process_is_alone_unless_flags_or_slurm_tell(environment):
    environment()
    assert peers.way_to_start() is None
    flags = peers.way_to_start("10.0.0.1:8476", 4, 1)
    assert flags == {
        "coordinator_address": "10.0.0.1:8476",
        "num_processes": 4,
        "process_id": 1,
        "cluster_detection_method": "deactivate",
    }
    # The shell of a batch job has the tasks' number too; only what `srun` starts has a step.
    environment(**SLURM)
    assert peers.way_to_start() is None
    environment(**SLURM, SLURM_STEP_NODELIST="node[3-6]")
    assert peers.way_to_start() == {"cluster_detection_method": "slurm"}
    environment(**SLURM | {"SLURM_NTASKS": "1"}, SLURM_STEP_NODELIST="node3")
    assert peers.way_to_start() is None


WRONG = {
    "some": (("10.0.0.1:8476", None, 0), "go together"),
    "port": (("10.0.0.1", 2, 0), "give HOST:PORT"),
    "index": (("10.0.0.1:8476", 2, 2), "--process=2: give 0 to 1"),
    "below": (("10.0.0.1:8476", 2, -1), "--process=-1: give 0 to 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_flags_that_do_not_go_together_are_refused(name):
    arguments, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        peers.way_to_start(*arguments)


# The texts of Gloo, NCCL and JAX's coordination service, shortened.
LOST = [
    "UNKNOWN: Gloo all-reduce failed: [gloo/transport/tcp/pair.cc:538] Read error "
    "[127.0.0.1]:32935: Connection reset by peer",
    "UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer [10.0.0.2]:41234",
    "UNKNOWN: Gloo all-reduce failed: [unbound_buffer.cc:81] Timed out waiting 30000ms for recv",
    "INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited or there was a network "
    "error",
    "UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats): task 1",
    "DEADLINE_EXCEEDED: Barrier timed out. Id: sde_ct 3",
]
WRONG_SETTING = [
    "UNKNOWN: Gloo context initialization failed: [device.cc:91] ifa != nullptr. Unable to find "
    "interface for: eth7",
    "INTERNAL: NCCL operation ncclCommInitRank(...) failed: invalid usage (run with "
    "NCCL_DEBUG=WARN for details)",
    "INTERNAL: NCCL operation ncclCommInitRank(...) failed: unhandled cuda error",
]


@pytest.mark.parametrize("text", LOST)
def test_a_lost_peer_is_recognised(text):
    assert peers.is_lost_peer(jax.errors.JaxRuntimeError(text))


@pytest.mark.parametrize(
    "error",
    [
        *map(jax.errors.JaxRuntimeError, WRONG_SETTING),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
        InputError("UNAVAILABLE: a sentence of ours"),
        KeyError("Gloo: Connection reset by peer"),
    ],
)
def test_a_wrong_setting_and_other_errors_are_no_lost_peer(error):
    assert not peers.is_lost_peer(error)


PROGRAM = """
import sys
import jax
from sde_ct.runtime import cli, peers
def main():
    with peers.together(f"127.0.0.1:{sys.argv.pop()}", 1, 0):
        raise jax.errors.JaxRuntimeError(text)
text = sys.argv.pop()
port = sys.argv.pop()
sys.argv.append(port)
cli.run(lambda port: main(), "PORT")
"""


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        (LOST[0], peers.LOST, "error: another process of the run is gone"),
        (WRONG_SETTING[0], 2, "error: The processes can't exchange data (UNKNOWN: Gloo context"),
    ],
)
def test_only_a_lost_peer_lets_the_scheduler_try_again(text, status, sentence):
    """Status 69 starts the run again, up to a hundred times; 2 ends it."""
    command = [sys.executable, "-c", PROGRAM, str(free_port(range(20000, 30000))), text]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(sentence)
