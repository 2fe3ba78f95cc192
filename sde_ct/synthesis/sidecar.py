"""The results of one volume on disk: whole, or known to be unfinished, and never lost.

Everything is written to a folder of its own, `.partial-NAME`, and moved to its place when it is
complete, `NAME.json` last, which tells every result and its SHA-256: what is there as it tells is
kept, what is missing is made, and what is anything else is refused. The moves of a killed run are
ended by the next.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.storage.whole import whole

# In NAME.json:
RESULTS = "results"  # {path: SHA-256}
SERIES = "joined_series"  # `Delivery.series`


@dataclass(frozen=True)
class Delivery:
    """What is asked for one volume, and where it goes.

    Attributes:
      folder: of all results.
      name: of the volume.
      request: plain JSON values that the results follow from; part of `NAME.json`.
      outputs: paths of the results below `folder`, files or folders of DICOM slices.
      series: what DICOM slices join, see `provenance.series`; None where there are none.
    """

    folder: Path
    name: str
    request: dict[str, Any]
    outputs: tuple[str, ...]
    series: str | None = None

    def is_complete(self) -> bool:
        """Whether there is nothing left to do, after the moves of a killed run are ended.

        Raises InputError where other results, or files of somebody else's, lie in the way.
        """
        self._end_moves()
        return not self._missing(_read(self._sidecar))

    def put(self, write: Callable[[Path], None], account: dict[str, Any]) -> None:
        """Put what is missing in place.

        Args:
          write: writes every one of `outputs` below the folder that it is given.
          account: the rest of `NAME.json`.
        """
        stage, made = self._stage, not self.folder.exists()
        told = _read(self._sidecar)
        missing = self._missing(told)
        shutil.rmtree(stage, ignore_errors=True)  # of a run killed while it wrote
        stage.mkdir(parents=True)
        try:
            write(stage)
            digests = _results(told) | {path: _sha256(stage / path) for path in missing}
            told = (told or {}) | self.request | account | {RESULTS: digests}
            told |= {SERIES: self.series} if self.series else {}
            with whole(stage / self._sidecar.name) as partial:
                partial.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            if made and not any(self.folder.iterdir()):
                self.folder.rmdir()
            raise
        self._end_moves()

    @property
    def _sidecar(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def _stage(self) -> Path:
        return self.folder / f".partial-{self.name}"

    def _missing(self, told: dict[str, Any] | None) -> list[str]:
        """The outputs that are still to be made; InputError as `is_complete`."""
        if told is not None and (changed := differences(told, self.request)):
            raise InputError(
                f"{self._sidecar} tells of another request ({'; '.join(changed[:3])}): give "
                "another --output or remove it."
            )
        if self.series and (told or {}).get(SERIES, self.series) != self.series:
            raise InputError(
                f"{self._sidecar} tells of DICOM series that join another patient, study, frame of "
                "reference or series than the MR's now: give another --output."
            )
        missing, digests = [], _results(told)
        for output in self.outputs:
            path = self.folder / output
            if not path.exists():
                missing.append(output)
            elif output not in digests:
                raise InputError(f"{path} exists: give another --output or remove it.")
            elif _sha256(path) != digests[output]:
                raise InputError(
                    f"{path} has changed since it was written: give another --output or move it "
                    "elsewhere."
                )
        return missing

    def _end_moves(self) -> None:
        """Move to its place what lies ready, the account of it last; what is there stays."""
        try:
            told = _read(self._stage / self._sidecar.name)
        except InputError:
            return
        there = _read(self._sidecar) or self.request
        if told is None or differences(told, self.request) or differences(there, self.request):
            return
        for output in _results(told):
            source, target = self._stage / output, self.folder / output
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
        os.replace(self._stage / self._sidecar.name, self._sidecar)
        shutil.rmtree(self._stage)


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


def _results(told: dict[str, Any] | None) -> dict[str, str]:
    found = (told or {}).get(RESULTS)
    return dict(found) if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    """Of a file, or of the names and contents of all files in a folder."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    lines = (f"{sha256(p)} {p.relative_to(path).as_posix()}\n" for p in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


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
