"""The results of one volume on disk: whole, or known to be unfinished.

Everything is written to a folder of its own, `.partial-NAME`, and moved to its place when it is
complete, `NAME.json` last: where that is, all is. What a killed run leaves is recognised by the
request in its folder, and done again.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError

REQUEST = "request.json"  # in the folder of an unfinished volume


@dataclass(frozen=True)
class Delivery:
    """What is asked for one volume, and where it goes.

    Attributes:
      folder: of all results.
      name: of the volume.
      request: plain JSON values that the results follow from; part of `NAME.json`.
      outputs: paths of the results below `folder`, files or folders of DICOM slices.
    """

    folder: Path
    name: str
    request: dict[str, Any]
    outputs: tuple[str, ...]

    def is_complete(self) -> bool:
        """Whether there is nothing left to do.

        Raises InputError where other results, or files of somebody else's, lie in the way.
        """
        sidecar = self.folder / f"{self.name}.json"
        told = _read(sidecar)
        if told is not None:
            if changed := differences(told, self.request):
                raise InputError(
                    f"{sidecar} tells of another request ({'; '.join(changed[:3])}): give another "
                    "--output or remove it."
                )
            return all((self.folder / path).exists() for path in self.outputs)
        if self._unfinished():
            return False
        for path in map(self.folder.joinpath, self.outputs):
            if path.exists():
                raise InputError(f"{path} exists: give another --output or remove it.")
        return False

    def _unfinished(self) -> bool:
        """Whether a run with this very request was killed while it moved its results."""
        told = _read(self._stage / REQUEST)
        return told is not None and not differences(told, self.request)

    @property
    def _stage(self) -> Path:
        return self.folder / f".partial-{self.name}"

    def put(self, write: Callable[[Path], None], account: dict[str, Any]) -> None:
        """Put all results in place.

        Args:
          write: writes every one of `outputs` below the folder that it is given.
          account: the rest of `NAME.json`.
        """
        stage, made = self._stage, not self.folder.exists()
        shutil.rmtree(stage, ignore_errors=True)  # of a killed run
        stage.mkdir(parents=True)
        try:
            write(stage)
            _write(stage / f"{self.name}.json", self.request | account)
            _write(stage / REQUEST, self.request)
            for path in (*self.outputs, f"{self.name}.json"):
                _move(stage / path, self.folder / path)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            if made and not any(self.folder.iterdir()):
                self.folder.rmdir()


def differences(told: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Where what was asked differs from what is told of it, as "name: told -> asked"."""
    left = dict(_leaves({key: told.get(key) for key in asked}))
    right = dict(_leaves(asked))
    return [
        f"{name}: {left.get(name, 'absent')} -> {right.get(name, 'absent')}"
        for name in left | right
        if left.get(name, "absent") != right.get(name, "absent")
    ]


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every plain value with the keys and places that lead to it."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_text("utf-8"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InputError(f"{path} is none that synthesis wrote: give another --output.")
    return told


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def _move(source: Path, target: Path) -> None:
    """Over what an unfinished run left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)
