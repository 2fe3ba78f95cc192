"""Locks that keep two processes from writing to the same place.

The operating system frees a lock when its process ends, even by `kill -9`. On NFS, the server keeps
the locks, so that other machines are kept out too. A file system without locks (some Lustre mounts)
is used with a warning.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from absl import logging

from sde_ct.errors import InputError
from sde_ct.storage.whole import naming


@contextlib.contextmanager
def locked(folder: Path, doing: str, flag: str) -> Iterator[None]:
    """Hold the lock file `folder/lock`. Raises InputError if another process holds it,
    or if `folder` is a file.

    Args:
      folder: created if it is absent.
      doing: what the holder does in the folder, as a word for the message, such as "training".
      flag: the flag that names the folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder as {flag}.")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            _lock(file, wait=False)
        except BlockingIOError:
            raise InputError(
                f"Another process is {doing} in {folder} ({_holder(file)}): "
                f"wait for it to end, or give another {flag}."
            ) from None
        _sign(file)
        yield


@contextlib.contextmanager
def awaited(path: Path, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`, waiting while another process holds it, then remove the file.

    Args:
      path: an absent folder of the file is created, and removed at the end if it is empty.
      notify: called with the holder ("process 12 on host") before waiting.
    """
    new = not path.parent.exists()
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(path.open("a+"))
                try:
                    _lock(file, wait=False)
                except BlockingIOError:
                    notify(_holder(file))
                    _lock(file, wait=True)
                if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    # The last holder removed this file, and another process made a new one.
                    continue
            except FileNotFoundError:  # the last holder removed the file or its folder
                continue
            _sign(file)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                if new:
                    # A folder with results is not empty and stays.
                    with contextlib.suppress(OSError):
                        path.parent.rmdir()
            return


def _lock(file: IO[str], *, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError as error:
        logging.warning("%s can't be locked (%s): do not start a second process", file.name, error)


def _sign(file: IO[str]) -> None:
    with naming(Path(file.name)):
        file.truncate(0)
        # A buffered write that failed would be tried again, and fail again, when the file closes.
        os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "unnamed"
