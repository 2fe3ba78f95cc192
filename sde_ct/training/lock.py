"""One training a work directory."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from sde_ct.errors import InputError


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold `workdir/lock`; InputError where another process holds it.

    The system frees the lock when the process ends, however it ends; the file stays. On NFS,
    Linux asks the server, so that other machines are kept out too; a file system that knows no
    locks (some Lustre mounts) is used with a warning.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir} is a file: give a folder as --workdir.")
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"Another process is training in {workdir} ({file.read().strip() or 'unnamed'}): "
                "wait for it to end, or give another --workdir."
            ) from None
        except OSError as error:
            logging.warning("%s can't be locked (%s): start no second training", path, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
