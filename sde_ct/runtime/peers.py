"""What the processes of a run agree on, and what each does when another one is gone.

JAX ends every process of a run within `parallel.HEARTBEAT` seconds of the death of one, at once
where the first dies, but by abort(): with a stack trace, and unseen by `except` and `atexit`. A
witness, a tiny process that outlives it, then says in one sentence what to do.
"""

import atexit
import contextlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime import parallel

LOST = 69  # EX_UNAVAILABLE: the same command again may well do
LONGEST = 2000  # bytes of a sentence that the processes tell each other
MEETING = 3600  # seconds to wait for the slowest
MEND = "start all of them again: what has been saved is used."

# How JAX reports a peer that is gone: the library that carries collectives, or a status.
_GONE = re.compile(r"Gloo|NCCL|oordination|^(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED)")
_WITNESS = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"


class Agreed(InputError):
    """What one process of the run met, and all of them end with, in order."""


@contextlib.contextmanager
def together(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    patience: int = 300,
) -> Iterator[None]:
    """`parallel.start`, the block, and the parting from the other processes, if there are any.

    A block that fails ends this process without waiting for the others: JAX would wait for them
    at the end of the program, while they wait for this one in their next collective. Where
    another process is gone, one sentence says so, and the status is `LOST`. Interrupted and
    Agreed come to all of them at one point, so that they part in order.
    """
    if parallel.way_to_start(coordinator, count, index) is None:
        yield
        return
    dismiss = witness()
    try:
        parallel.start(coordinator, count, index, patience)
        yield
    except (Interrupted, Agreed):
        _part(dismiss)
        raise
    except BaseException as error:
        dismiss()
        if is_lost_peer(error):
            cause = str(error).strip().splitlines()[0]
            print(f"error: another process of the run is gone ({cause}); {MEND}", file=sys.stderr)
            _leave(LOST)
        # It runs when the error has been told, and before JAX's, which was registered earlier.
        atexit.register(_leave, 2 if isinstance(error, (InputError, OSError)) else 1)
        raise
    _part(dismiss)


def _part(dismiss: Callable[[], None]) -> None:
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()  # waits for the others
    dismiss()


def witness() -> Callable[[], None]:
    """Start the witness of this process; returns what dismisses it."""
    sentence = (
        "error: this process was ended: another one of the run died or did not come, or it was "
        f"killed itself; {MEND}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _WITNESS, sentence],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # out of reach of what is sent to the group, as Ctrl-C is
    )

    def dismiss() -> None:
        process.communicate(b"parted")

    return dismiss


def is_lost_peer(error: BaseException) -> bool:
    """Whether JAX failed because another process is gone."""
    if isinstance(error, InputError) or not isinstance(error, (RuntimeError, ValueError)):
        return False
    return bool(_GONE.search(str(error)))


def is_primary() -> bool:
    """Whether this process writes what the run leaves; a process alone does."""
    return jax.process_index() == 0


def meet() -> None:
    """Wait until every process of the run has come as far; that one has died ends it as ever."""
    if jax.process_count() > 1:
        everyone = set(range(jax.process_count()))
        name = f"sde_ct {next(_meetings)}"
        multihost.sync_global_processes(name, timeout=MEETING, processes=everyone)


_meetings = itertools.count()  # every process counts the same ones


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """The block, to whose end every process comes: InputError or OSError of one is that of all.

    Else the others would be left waiting in their next collective, end as if a machine had been
    lost, and be started again by the scheduler. Raises Agreed, or for a process alone what was
    raised.
    """
    trouble = ""
    try:
        yield
    except (InputError, OSError) as error:
        if jax.process_count() == 1:
            raise
        trouble = str(error)
    if jax.process_count() > 1:
        for sentence in _all_told(trouble):
            if sentence:
                raise Agreed(sentence)


def _all_told(sentence: str) -> list[str]:
    """Of every process its sentence, when all have told one."""
    meet()
    text = np.zeros(LONGEST, np.uint8)
    content = np.frombuffer(sentence.encode()[:LONGEST], np.uint8)
    text[: len(content)] = content
    every = np.asarray(multihost_utils.process_allgather(text))
    return [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in every]


def connect(devices: Sequence[jax.Device]) -> None:
    """Open the channels between the devices of all processes.

    To open them gloo waits for half a minute for all to come, and one process may well compile
    or hash the data for longer than another; once they are open, it waits longer than that.
    """
    if jax.process_count() > 1:
        meet()
        add = jax.pmap(lambda x: jax.lax.psum(x, parallel.AXIS), parallel.AXIS, devices=devices)
        jax.block_until_ready(add(np.ones(len(parallel.local(devices)))))


def from_primary(number: int | None) -> int | None:
    """The primary's number, 0 or more, or None: on every process, when all have asked."""
    meet()
    told = int(multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number)))
    return None if told < 0 else told


def told_to_stop(step: int) -> bool:
    """Whether to stop after `step`, since SIGTERM came to some process of the run.

    True at the same step on all of them, and every process must ask after every step. False for
    a process alone: its signals are its own affair.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
