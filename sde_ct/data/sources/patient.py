"""One patient as a source hands it to preparation."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.files import files_of
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.volume import Volume

EMPTY = "its folder is empty: copy its files again, or remove it"
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Patient(NamedTuple):
    """The volumes of one patient and how they were come by."""

    mr: Volume  # a.u.
    ct: Volume  # HU, on any grid
    mask: Volume | None  # body, on the MR's grid; None: to be computed
    files: Mapping[str, Path | None]  # "mr", "ct", "mask": a file, or a folder of one series
    registered: bool | None = None  # CT to MR by its source; None: nothing is said of it
    ct_measured: np.ndarray | None = None  # where, on the MR's grid; None: by the CT's values
    mr_measured: np.ndarray | None = None  # where, on the MR's grid; None: everywhere
    extra: Mapping[str, Volume] = NOTHING  # further volumes on the MR's grid, kept as NIfTI
    chosen: Mapping[str, str] = NOTHING  # what was chosen and why, a sentence each
    facts: Mapping[str, Any] = NOTHING  # for the report, JSON
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """A patient that was found; pickled to the process that prepares it."""

    @property
    def id(self) -> str: ...

    def read(self) -> Patient:
        """Everything of the patient. Raises InputError with the reason why it is unusable."""
        ...

    def stamp(self) -> str:
        """Differs when a file of the patient has changed."""
        ...

    def clean(self, text: str) -> str:
        """A text about it without the names and IDs that its files hold."""
        ...


class Unusable(NamedTuple):
    """A patient that was refused when it was found."""

    id: str
    reason: str

    def read(self) -> Patient:
        raise InputError(self.reason)

    def stamp(self) -> str:
        return ""

    def clean(self, text: str) -> str:
        return text


def stamp_of(paths: Iterable[Path | None]) -> str:
    """A digest of names, sizes and times of change of files and of what goes with them.

    With a folder go its files, with a header the voxels that it names, with a DICOM file its
    folder's, among which the rest of its series is; no DICOM header is read for it.
    """
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(_going_with(path)) if path else ():
            status = file.stat()
            digest.update(f"{file}\n{status.st_size}\n{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _going_with(path: Path) -> list[Path]:
    if path.is_dir() or format_of(path) == "DICOM":
        folder = path if path.is_dir() else path.parent
        return [file for file in folder.iterdir() if file.is_file()]  # no link to nowhere
    return files_of(path)
