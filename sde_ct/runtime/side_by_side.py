"""Run programs at the same time, each on a CPU core of its own.

A small network does not keep several cores busy: the demo's networks are trained 1.5 times as fast
side by side, each on one core, as one after the other on two.
"""

import collections
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime.interrupt import Interruption

POLL = 0.1  # seconds between two looks at the programs

# Prepares its own process and becomes the program. Python code between fork and exec, by
# `preexec_fn`, could deadlock in a process that runs JAX's threads.
_PREPARE = """
import ctypes, os, signal, sys
core, *command = sys.argv[1:]
if sys.platform == "linux":
    PR_SET_PDEATHSIG = 1  # the signal that a program gets when its parent is gone
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if core != "None":
        os.sched_setaffinity(0, {int(core)})
os.execvp(command[0], command)
"""

Command = Sequence[str]


def side_by_side(chains: Sequence[Sequence[Command]]) -> None:
    """Run chains of commands. The commands of one chain run one after the other.

    As many chains run at a time as `lanes` gives.

    Raises:
      InputError: a command failed. It has printed why, and the others are asked to end.
      Interrupted: SIGTERM or Ctrl-C came, and was passed on to the commands.
    """
    free, waiting = list(enumerate(lanes())), collections.deque(list(chain) for chain in chains)
    running: dict[subprocess.Popen, tuple[tuple[int, int | None], list[Command]]] = {}
    with Interruption() as interruption:
        try:
            while waiting or running:
                while waiting and free:
                    lane, chain = free.pop(0), waiting.popleft()
                    running[_started(chain[0], *lane)] = lane, chain
                time.sleep(POLL)
                for program in [p for p in running if p.poll() is not None]:
                    lane, chain = running.pop(program)
                    if program.returncode and interruption.signal is None:
                        raise InputError(
                            f"{' '.join(chain[0])} ended with status {program.returncode}, and the "
                            "lines above say why: correct the cause and give the same command."
                        )
                    free.append(lane)
                    if chain[1:]:
                        waiting.appendleft(chain[1:])
                if interruption.signal is not None:
                    name = interruption.signal.name
                    raise Interrupted(f"{name}; the same command goes on.", interruption.signal)
        finally:
            for program in running:
                program.send_signal(signal.SIGTERM)
            for program in running:
                program.wait()


def lanes() -> Sequence[int | None]:
    """The cores of this process; with an accelerator a single None, which stands for all cores.

    JAX is asked in another process, because this one would keep the accelerator for itself.
    """
    asked = "import jax; print(jax.default_backend())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    if done.stdout.strip() != "cpu":
        return [None]
    if hasattr(os, "sched_getaffinity"):  # Linux
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _started(command: Command, place: int, core: int | None) -> subprocess.Popen:
    """A program that may use this core alone.

    It has a process group of its own, so that Ctrl-C reaches it once, through this process, and it
    gets SIGTERM if this process is killed. Its progress bar has the line `place` on a terminal.
    """
    bars = {"TQDM_POSITION": str(place)} if sys.stderr.isatty() else {}
    prepared = [sys.executable, "-IS", "-c", _PREPARE, str(core), *command]
    return subprocess.Popen(prepared, env=os.environ | bars, process_group=0)
