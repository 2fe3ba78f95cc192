"""A SLURM cluster of two nodes on this machine, with Debian's slurm-wlm, no login and fake GPUs.

Jobs are numbered from a port that was free: JAX takes its coordinator's port from a job's number,
and two clusters at once would meet there.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={port}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=5
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
FirstJobId={first}
JobRequeue=1
NodeName=DEFAULT CPUs=64 RealMemory=1000 Gres=gpu:8 State=UNKNOWN
NodeName={host} NodeAddr=127.0.0.1 Port={first}
NodeName=localhost NodeAddr=127.0.0.1 Port={second}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """What keeps a cluster from starting here."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurm-wlm"
    return None if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of the commands that speak to it."""
    host = socket.gethostname()
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for free in (one, two, three):
            free.bind(("127.0.0.1", 0))
        port, first, second = (free.getsockname()[1] for free in (one, two, three))
    text = CONFIGURATION.format(host=host, port=port, first=first, second=second, folder=folder)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(
        f"NodeName={host},localhost Name=gpu File={folder}/gpu[0-7]\n"
    )
    for number in range(8):
        (folder / f"gpu{number}").touch()
    (folder / "state").mkdir()
    environment = {name: value for name, value in os.environ.items() if "SLURM" not in name}
    environment["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = [
        _start(folder, environment, "slurmctld"),
        _start(folder, environment, "slurmd", "-N", host),
        _start(folder, environment, "slurmd", "-N", "localhost"),
    ]
    try:
        for _ in range(120):
            if call(environment, "sinfo", "-h", "-t", "idle", "-o", "%D") == "2":
                break
            time.sleep(0.5)
        else:
            raise RuntimeError(call(environment, "scontrol", "show", "node"))
        yield environment
    finally:
        call(environment, "scancel", "--full", "--user=root")
        time.sleep(1)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


def call(environment: dict[str, str], *words: str) -> str:
    """What a command says, on both streams."""
    done = subprocess.run(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.stdout.strip()


def _start(folder: Path, environment: dict[str, str], *words: str) -> subprocess.Popen:
    with (folder / f"{'-'.join(words)}.log").open("w") as log:
        return subprocess.Popen([*words[:1], "-D", *words[1:]], env=environment, stderr=log)
