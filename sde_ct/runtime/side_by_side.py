"""Run programs at the same time, each on a CPU core of its own.

A small network does not keep several cores busy: the demo's networks are trained 1.5 times as fast
side by side, each on one core, as one after the other on two.
"""

import collections
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime.interrupt import Interruption

POLL = 0.1  # seconds between two checks of which programs have ended

# This code prepares its own process and then becomes the program. With `preexec_fn`, Python code
# would run between fork and exec, and could deadlock in a process that runs JAX's threads.
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


class _Running(NamedTuple):
    """A running program."""

    lane: int  # an index into `lanes`
    line: int  # of the terminal, for its progress bar
    chain: list[Command]  # this command and those that follow


def side_by_side(chains: Sequence[Sequence[Command]]) -> None:
    """Run chains of commands. The commands of one chain run one after the other.

    One chain runs at a time in each of the `lanes`. Only the last two waiting chains begin together
    on one core, and one of them moves to the next core that becomes free. If they ran one after the
    other, a core would be idle while the last chain runs.

    Raises:
      InputError: a command failed. It has printed why, and the others are asked to end.
      Interrupted: SIGTERM or Ctrl-C came, and the commands were sent SIGTERM and have ended.
    """
    cores, waiting = lanes(), collections.deque(list(chain) for chain in chains)
    running: dict[subprocess.Popen, _Running] = {}

    def idle() -> list[int]:
        used = {one.lane for one in running.values()}
        return [lane for lane in range(len(cores)) if lane not in used]

    def start(lane: int) -> None:
        chain, lines = waiting.popleft(), {one.line for one in running.values()}
        line = min(set(range(len(running) + 1)) - lines)
        running[_started(chain[0], line, cores[lane])] = _Running(lane, line, chain)

    def share_out() -> None:
        """Start chains on idle lanes, and move programs that share a lane to idle ones."""
        free = idle()
        for lane in free[: len(waiting)]:
            start(lane)
            if free == [lane] and len(waiting) == 1 and cores[lane] is not None:
                start(lane)
        count = collections.Counter(one.lane for one in running.values())
        sharing = [program for program, one in running.items() if count[one.lane] > 1]
        for lane in idle()[: len(sharing) // 2]:
            _move(sharing[-1].pid, cores[lane])  # type: ignore[arg-type]  # only cores are shared
            running[sharing[-1]] = running[sharing[-1]]._replace(lane=lane)

    with Interruption() as interruption:
        try:
            while waiting or running:
                share_out()
                time.sleep(POLL)
                for program in [p for p in running if p.poll() is not None]:
                    chain = running.pop(program).chain
                    if program.returncode and interruption.signal is None:
                        raise InputError(
                            f"{' '.join(chain[0])} ended with status {program.returncode}, and the "
                            "lines above say why: correct the cause and give the same command."
                        )
                    if chain[1:]:
                        waiting.appendleft(chain[1:])
                if interruption.signal is not None:
                    name = interruption.signal.name
                    raise Interrupted(
                        f"{name}; the same command continues the work.", interruption.signal
                    )
        finally:
            for program in running:
                program.send_signal(signal.SIGTERM)
            for program in running:
                program.wait()


def _move(pid: int, core: int) -> None:
    """Let a program run on another core: all of its threads that still exist move."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {core})


def lanes() -> Sequence[int | None]:
    """The cores that this process may use; each is None where programs can't be bound to cores.

    With an accelerator there is a single None, which stands for the whole machine. JAX looks for
    the accelerator in another process, because this process would keep it for itself.
    """
    asked = "import jax; print(jax.default_backend())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    if done.stdout.strip() != "cpu":
        return [None]
    if hasattr(os, "sched_getaffinity"):  # Linux
        return sorted(os.sched_getaffinity(0))
    return [None] * (os.cpu_count() or 1)


def _started(command: Command, line: int, core: int | None) -> subprocess.Popen:
    """Start a program that may use only this core.

    It has a process group of its own, so that Ctrl-C reaches it once, through this process, and it
    gets SIGTERM if this process is killed. Its progress bar is on this line of the terminal.
    """
    bars = {"TQDM_POSITION": str(line)} if sys.stderr.isatty() else {}
    prepared = [sys.executable, "-IS", "-c", _PREPARE, str(core), *command]
    return subprocess.Popen(prepared, env=os.environ | bars, process_group=0)
