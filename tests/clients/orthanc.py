"""An Orthanc server on the loopback, and DICOM's own services to it by the programs of dcmtk."""

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .clients import program, run

SERVER, CLIENT, HOST = "ORTHANC", "CLIENT", "127.0.0.1"


class Orthanc(NamedTuple):
    """Its port, and the one at which it sends images to us."""

    port: int
    ours: int

    def call(self, name: str, *arguments: object) -> str:
        """A service by `name` of dcmtk: its output, errors included."""
        to = (*("-aet", CLIENT, "-aec", SERVER), HOST, self.port)
        return run(program(name, "dcmtk"), *to, *arguments)

    def store(self, folder: Path) -> None:
        self.call("storescu", "-R", "+sd", folder)  # -R: also classes that are rarely sent

    def find(self, *keys: str) -> str:
        """The answers to a C-FIND; a key without a value is asked for, one with a value asks."""
        return self.call("findscu", "-S", *(part for key in keys for part in ("-k", key)))

    def move(self, folder: Path, *keys: str) -> list[Path]:
        """The files that a C-MOVE of a series brings to `folder`."""
        folder.mkdir()
        keyed = [part for key in ("QueryRetrieveLevel=SERIES", *keys) for part in ("-k", key)]
        self.call("movescu", "-S", "-aem", CLIENT, "+P", self.ours, "-od", folder, *keyed)
        return sorted(folder.iterdir())


@contextlib.contextmanager
def orthanc(folder: Path) -> Iterator[Orthanc]:
    """A server that keeps its images in `folder`, which must not exist, until the block ends."""
    executable = program("Orthanc", "orthanc")
    program("storescu", "dcmtk")
    with contextlib.ExitStack() as taken:  # three free ports at once, so that they differ
        sockets = [taken.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind((HOST, 0))
        port, ours, http = (one.getsockname()[1] for one in sockets)
    folder.mkdir()
    settings = {
        "StorageDirectory": str(folder / "images"),
        "IndexDirectory": str(folder / "images"),
        "HttpPort": http,
        "DicomPort": port,
        "DicomAet": SERVER,
        "DicomModalities": {"client": [CLIENT, HOST, ours]},
        "RemoteAccessAllowed": False,
        "Plugins": [],
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([executable, folder / "settings.json"], stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "log")
            yield Orthanc(port, ours)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait(server: subprocess.Popen, port: int, log: Path) -> None:
    """Return when the server takes connections; fail with its log where it does not."""
    for _ in range(100):
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.1)
    pytest.fail(f"Orthanc did not start: {log.read_text()}")
