"""One process a folder."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from sde_ct.errors import InputError


@contextlib.contextmanager
def locked(folder: Path, doing: str, flag: str) -> Iterator[None]:
    """Hold `folder/lock`; InputError where another process holds it.

    The system frees the lock when the process ends, however it ends; the file stays. On NFS,
    Linux asks the server, so that other machines are kept out too; a file system that knows no
    locks (some Lustre mounts) is used with a warning.

    Args:
      folder: to be made where it is absent.
      doing: what a process does in it, as a sentence says it: "training".
      flag: that names the folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder as {flag}.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"Another process is {doing} in {folder} ({file.read().strip() or 'unnamed'}): "
                f"wait for it to end, or give another {flag}."
            ) from None
        except OSError as error:
            logging.warning("%s can't be locked (%s): start no second process", path, error)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
