"""The form in which sources give a patient to preparation."""

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

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Patient(NamedTuple):
    """The volumes of one patient and where they come from."""

    mr: Volume  # a.u.
    ct: Volume  # HU, on any grid
    mask: Volume | None  # body, on the MR's grid; None if it must be computed
    # By kind: "mr", "ct", "mask" and `file_name` of each further contrast. Each is a file or a
    # folder of one series, and the mask may be None.
    files: Mapping[str, Path | None]
    # Whether the source registered the CT to the MR; None if unknown.
    registered: bool | None = None
    # Measured voxels, on the MR's grid; None derives them from the CT's values.
    ct_measured: np.ndarray | None = None
    mr_measured: np.ndarray | None = None  # measured voxels, on the MR's grid; None means all
    further: Mapping[str, Volume] = NOTHING  # other MR contrasts by name, on any grid
    extra: Mapping[str, Volume] = NOTHING  # further volumes on the MR's grid, kept as NIfTI
    chosen: Mapping[str, str] = NOTHING  # notes on what was chosen and why, a sentence each
    facts: Mapping[str, Any] = NOTHING  # facts for the report, as JSON
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """A patient before reading; it is pickled for the process that prepares it."""

    @property
    def id(self) -> str: ...

    def read(self) -> Patient:
        """Read the patient. Raises InputError with the reason if the patient is unusable."""
        ...

    def stamp(self) -> str:
        """A text that changes when a file of the patient changes."""
        ...

    def clean(self, text: str) -> str:
        """A text about the patient without the names and IDs in the files."""
        ...


class Unusable(NamedTuple):
    """A patient that is refused."""

    id: str
    reason: str

    def read(self) -> Patient:
        raise InputError(self.reason)

    def stamp(self) -> str:
        return ""

    def clean(self, text: str) -> str:
        return text


def stamp_of(paths: Iterable[Path | None]) -> str:
    """A digest of the paths, sizes and times of files and of all files that belong to them.

    The files of a folder belong to it, the file of voxels belongs to its header, and all files in
    the folder of a DICOM file belong to that file. No DICOM header is read.
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
        return [file for file in folder.iterdir() if file.is_file()]  # a broken link is not a file
    return files_of(path)
