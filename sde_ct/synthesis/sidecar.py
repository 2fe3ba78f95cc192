"""The outputs of one volume, and the JSON sidecar that describes them.

Outputs are written to a folder `.partial-NAME`. When all are complete, they are moved to their
places, and the sidecar `NAME.json` is moved last. The sidecar lists the SHA-256 of every output.
Outputs that match their hash are kept, missing outputs are made, and any other file in the place of
an output is refused. If a process is killed while it moves files, the next process completes the
moves.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ct.config_record import from_dict, to_dict
from sde_ct.errors import InputError
from sde_ct.runtime.bars import say
from sde_ct.storage.digest import sha256
from sde_ct.storage.lock import awaited
from sde_ct.storage.whole import naming, read_json, write_json

Record = dict[str, Any]  # the content of a sidecar, plain JSON values
RESULTS = "results"  # key of {path: SHA-256} in a sidecar
SERIES = "joined_series"  # key of `VolumeOutputs.series` in a sidecar


@dataclass(frozen=True)
class VolumeOutputs:
    """The outputs of one volume, where they are written, and the request that they answer."""

    folder: Path  # folder of all outputs
    name: str  # name of the volume
    request: Record  # the settings that determine the results, as plain JSON values for the sidecar
    paths: tuple[str, ...]  # files or folders of DICOM slices, relative to `folder`
    # Identifies the study that DICOM series join, see `provenance.series`.
    series: str | None = None
    # Settings of further outputs. They may be added to a sidecar that lacks them, because no other
    # output depends on these settings.
    added: Record = field(default_factory=dict)

    def are_complete(self) -> bool:
        """Whether all outputs are in place, after completing the moves of a killed process.

        Raises InputError if other files occupy the place of an output, or if the sidecar is damaged
        or describes another request.
        """
        self._move_into_place()
        return not self._missing(_read(self._sidecar))

    def put(self, write: Callable[[Path], None], details: Record) -> None:
        """Write the missing outputs and the sidecar. Call this inside `volume_locked`.

        Args:
          write: function that writes all of `paths` below its argument, a folder.
          details: further entries of the sidecar.
        """
        stage, record = self._stage, _read(self._sidecar)
        missing = self._missing(record)
        shutil.rmtree(stage, ignore_errors=True)  # a killed process may have left it
        stage.mkdir(parents=True)
        try:
            with naming(self.first):
                write(stage)
            digests = _results(record) | {path: sha256(stage / path) for path in missing}
            record = (record or {}) | self.request | self.added | details | {RESULTS: digests}
            record |= {SERIES: self.series} if self.series else {}
            write_json(stage / self._sidecar.name, record)
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
        self._move_into_place()

    def record(self) -> Record:
        """The content of the sidecar; empty if there is none. InputError if it is damaged."""
        return _read(self._sidecar) or {}

    @property
    def first(self) -> Path:
        """The first output's path."""
        return self.folder / self.paths[0]

    @property
    def _sidecar(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def _stage(self) -> Path:
        return self.folder / f".partial-{self.name}"

    def _differences(self, record: Record) -> list[str]:
        return differences(self.added | record, self.request | self.added)

    def _missing(self, record: Record | None) -> list[str]:
        """The outputs that are still missing. Raises InputError as `are_complete` does."""
        if record is not None and (changed := self._differences(record)):
            raise InputError(
                f"{self._sidecar} describes another request ({'; '.join(changed[:3])}): give "
                "another --output or remove the file."
            )
        if self.series and (record or {}).get(SERIES, self.series) != self.series:
            raise InputError(
                f"{self._sidecar} describes DICOM series that join another MR series: the MR's "
                "patient, study, frame of reference or series has changed. Give another --output."
            )
        missing, digests = [], _results(record)
        for output in self.paths:
            path = self.folder / output
            if not path.exists():
                missing.append(output)
            elif output not in digests:
                raise InputError(f"{path} exists: give another --output or remove it.")
            elif sha256(path) != digests[output]:
                raise InputError(
                    f"{path} has changed since it was written: give another --output or move it "
                    "elsewhere."
                )
        return missing

    def _move_into_place(self) -> None:
        """Move complete outputs to their places, overwriting none; then replace the sidecar."""
        try:
            record = _read(self._stage / self._sidecar.name)
        except InputError:
            return
        existing = _read(self._sidecar) or self.request
        if record is None or self._differences(record) or self._differences(existing):
            return
        for output in _results(record):
            source, target = self._stage / output, self.folder / output
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(source, target)
        os.replace(self._stage / self._sidecar.name, self._sidecar)
        shutil.rmtree(self._stage)


def volume_locked(folder: Path, name: str) -> AbstractContextManager[None]:
    """Lock a volume's outputs and its sidecar, after waiting for another process to unlock them.

    A sidecar must be read, changed and written inside one block, or a change of another process
    between the reading and the writing is lost.
    """
    lock = folder / f".{name}.lock"
    return awaited(lock, lambda holder: say(f"{name}: waiting for {holder} to finish it."))


def differences(record: Record, request: Record) -> list[str]:
    """The differences between a record and a request, as "name: recorded -> requested".

    Of a SHA-256, the first eight digits are shown.
    """
    left = dict(_leaves({key: record.get(key) for key in request}))
    right = dict(_leaves(request))
    return [
        f"{name}: {_shown(left.get(name, 'absent'))} -> {_shown(right.get(name, 'absent'))}"
        for name in left | right
        if left.get(name, "absent") != right.get(name, "absent")
    ]


def _shown(value: Any) -> str:
    return re.sub(r"^([0-9a-f]{8})[0-9a-f]{56}$", r"\1…", str(value))


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All plain values, each with its path of keys and indices."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _results(record: Record | None) -> dict[str, str]:
    results = (record or {}).get(RESULTS)
    return dict(results) if isinstance(results, dict) else {}


def _read(path: Path) -> Record | None:
    if not path.exists():
        return None
    try:
        record = read_json(path)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{path} is not a sidecar of synthesis: give another --output.")
    # An earlier version's configurations lack the fields that were added later.
    with contextlib.suppress(KeyError, TypeError, InputError):
        for one in record["checkpoints"]:
            one["configuration"] = to_dict(from_dict(one["configuration"]))
    return record
