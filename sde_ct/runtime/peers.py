"""Let the processes of one run find each other, agree, and end if one of them is lost.

When a process dies, JAX ends the others within `HEARTBEAT` seconds, or at once if process 0 died.
It calls abort(), which prints a stack trace and runs neither `except` nor `atexit`. Each process
therefore starts a witness, a tiny process that outlives it and prints one sentence on what to do.
"""

import atexit
import contextlib
import importlib.util
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime import parallel

HEARTBEAT = 30  # seconds; a process without a sign of life for so long counts as dead
LOST = 69  # exit status (EX_UNAVAILABLE) when a peer is lost: the same command may succeed
LONGEST = 2000  # most bytes of a message between processes
MEETING = 3600  # seconds to wait for the slowest process
REMEDY = "start all processes again, and they continue from the last save."

# Texts by which errors of JAX are recognised. `_NETWORK` and `_STATUS` match failures of the
# network between the processes. Among these, `_STATUS` and `_GONE` show that a process is gone.
_NETWORK = re.compile(r"Gloo|NCCL|oordination")
_STATUS = re.compile(r"^(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED|CANCELLED)")
_GONE = re.compile(
    r"connection (reset|closed|refused)|broken pipe|remote process exited|timed? ?out|heartbeat",
    re.IGNORECASE,
)
_WITNESS = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"


class Agreed(InputError):
    """An error of one process that ends all processes of the run."""


def way_to_start(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> dict[str, Any] | None:
    """The arguments of `jax.distributed.initialize`; None for a single process.

    If no argument is given, the values come from SLURM's variables (one task per GPU), or from JAX
    itself if it is installed for TPUs.

    Args:
      coordinator: HOST:PORT at which process 0 can be reached.
      count: number of processes.
      index: the number of this process, from 0.

    Raises:
      InputError: only some of the arguments are given, or one has a wrong value.
    """
    if coordinator is not None and count is not None and index is not None:
        if not re.fullmatch(r".+:\d+", coordinator):
            raise InputError(f"--coordinator={coordinator}: give HOST:PORT.")
        if not 0 <= index < count:
            raise InputError(f"--process={index}: give 0 to {count - 1} for --processes={count}.")
        given = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
        return given | {"cluster_detection_method": "deactivate"}
    if (coordinator, count, index) != (None, None, None):
        raise InputError("--coordinator, --processes and --process go together: give all three.")
    if "SLURM_STEP_NODELIST" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return {"cluster_detection_method": "slurm"}
    return {} if importlib.util.find_spec("libtpu") else None


@contextlib.contextmanager
def together(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    patience: int = 300,
) -> Iterator[None]:
    """Connect to the other processes, run the block, and disconnect; a single process only runs it.

    If the block fails, this process ends without waiting for the others, with status `LOST` if the
    reason is that another process is gone. JAX would wait for the others at the end of the program,
    while they would wait for this process in their next collective. Interrupted and Agreed reach
    all processes at the same point, so they can disconnect.

    Args:
      coordinator, count, index: see `way_to_start`.
      patience: seconds that a finished process waits for the others.

    Raises:
      InputError: the arguments, or the settings of the network, are wrong.
    """
    options = way_to_start(coordinator, count, index)
    if options is None:
        yield
        return
    dismiss = _witness()
    try:
        try:
            jax.distributed.initialize(
                **options, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=patience
            )
        except ValueError:
            if options:
                raise
            # JAX is installed for TPUs, but this machine belongs to no pod.
        yield
    except (Interrupted, Agreed):
        _disconnect(dismiss)
        raise
    except BaseException as error:
        dismiss()
        cause = (str(error).strip().splitlines() or [""])[0]
        if is_lost_peer(error):
            print(f"error: another process of the run is gone ({cause}); {REMEDY}", file=sys.stderr)
            _leave(LOST)
        if is_network_error(error):
            error = InputError(
                f"The processes can't exchange data ({cause}): check that all were started with "
                "the same settings, and check the network interface and driver that Gloo or "
                "NCCL uses."
            )
        # This runs after the message is printed and before JAX's handler, which was registered
        # earlier.
        atexit.register(_leave, 2 if isinstance(error, (InputError, OSError)) else 1)
        raise error
    _disconnect(dismiss)


def _disconnect(dismiss: Callable[[], Any]) -> None:
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()  # this waits for the other processes
    dismiss()


def _witness() -> Callable[[], Any]:
    """Start the witness of this process, and return a function that ends it silently."""
    sentence = (
        "error: this process ended because it was killed, or because another process of the run "
        f"died or never connected; {REMEDY}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", _WITNESS, sentence],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # signals to the group, such as Ctrl-C, do not reach the witness
    )
    return lambda: process.communicate(b"done")


def is_network_error(error: BaseException) -> bool:
    """Whether the communication between the processes failed."""
    if isinstance(error, InputError) or not isinstance(error, (RuntimeError, ValueError)):
        return False
    return bool(_NETWORK.search(str(error)) or _STATUS.search(str(error)))


def is_lost_peer(error: BaseException) -> bool:
    """Whether the error means that another process is gone, and not that a setting is wrong."""
    text = str(error)
    return is_network_error(error) and bool(_GONE.search(text) or _STATUS.search(text))


def is_primary() -> bool:
    """Whether this process writes the files of the run."""
    return jax.process_index() == 0


def meet() -> None:
    """Wait until every process of the run has called this."""
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # it takes long to import

        everyone = set(range(jax.process_count()))
        name = f"sde_ct {next(_meetings)}"
        multihost.sync_global_processes(name, timeout=MEETING, processes=everyone)


_meetings = itertools.count()  # the same number in every process


@contextlib.contextmanager
def agreed() -> Iterator[None]:
    """Run a block in every process, and end all processes if one raises InputError or OSError.

    Without this, the other processes would wait in their next collective, end as if a machine had
    been lost, and be restarted by the scheduler. Raises Agreed, or the error itself in a single
    process.
    """
    trouble = ""
    try:
        yield
    except (InputError, OSError) as error:
        if jax.process_count() == 1:
            raise
        trouble = str(error)
    if jax.process_count() > 1:
        meet()
        text = np.frombuffer(trouble.encode()[:LONGEST].ljust(LONGEST, b"\0"), np.uint8)
        for row in np.asarray(multihost_utils.process_allgather(text)):
            if sentence := row.tobytes().rstrip(b"\0").decode(errors="replace"):
                raise Agreed(sentence)


def connect(devices: Sequence[jax.Device]) -> None:
    """Open the channels between the devices of all processes, as soon as all are ready.

    While Gloo opens channels it waits only half a minute, but one process may compile or hash data
    for longer than that. Once the channels are open, Gloo waits longer.
    """
    if jax.process_count() > 1:
        meet()
        add = jax.pmap(lambda x: jax.lax.psum(x, parallel.AXIS), parallel.AXIS, devices=devices)
        jax.block_until_ready(add(np.ones(len(parallel.local(devices)))))


def from_primary(number: int | None) -> int | None:
    """The `number` of the primary process: 0 or more, or None. Every process must call this."""
    meet()
    received = multihost_utils.broadcast_one_to_all(np.int32(-1 if number is None else number))
    return None if int(received) < 0 else int(received)


def stop_requested(step: int) -> bool:
    """Whether any process of the run received SIGTERM, so that all stop before `step`.

    All processes must call this before every step, and get the same answer. A single process
    handles signals itself and always gets False.
    """
    return jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
