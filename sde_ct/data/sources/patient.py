"""One patient as a source gives it to preparation, and a walk through patients' folders."""

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
    """The volumes of one patient and where they come from."""

    mr: Volume  # a.u.
    ct: Volume  # HU, on any grid
    mask: Volume | None  # body, on the MR's grid; None: to be computed
    files: Mapping[str, Path | None]  # "mr", "ct", "mask": a file, or a folder of one series
    registered: bool | None = None  # CT to MR by its source; None: unknown
    ct_measured: np.ndarray | None = None  # where, on the MR's grid; None: by the CT's values
    mr_measured: np.ndarray | None = None  # where, on the MR's grid; None: everywhere
    further: Mapping[str, Volume] = NOTHING  # other MR contrasts by name, on any grid
    extra: Mapping[str, Volume] = NOTHING  # further volumes on the MR's grid, kept as NIfTI
    chosen: Mapping[str, str] = NOTHING  # what was chosen and why, a sentence each
    facts: Mapping[str, Any] = NOTHING  # for the report, JSON
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """A patient; pickled to the process that prepares it."""

    @property
    def id(self) -> str: ...

    def read(self) -> Patient:
        """Everything of the patient. Raises InputError with the reason why it is unusable."""
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
    """A digest of the names, sizes and times of files and of those that belong to them.

    A folder stands for its files, a header for the voxels that it names, and a DICOM file for
    its folder, which holds the rest of its series; no DICOM header is read.
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


def folders(root: Path) -> list[Path]:
    """`root` and every folder below, sorted, without those that begin with a dot.

    Links are followed, except to a folder that they lie in.
    """
    return _below(root, frozenset())


def subfolders(root: Path) -> list[Path]:
    """The folders directly in `root`, sorted, without those that begin with a dot."""
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def is_empty(root: Path) -> bool:
    """Whether no folder below holds a file, except those that begin with a dot."""
    files = (p for place in folders(root) for p in place.iterdir() if not p.is_dir())
    return all(p.name.startswith(".") for p in files)


def _below(place: Path, above: frozenset[Path]) -> list[Path]:
    real = place.resolve()
    if real in above:
        return []
    return [place, *(p for child in subfolders(place) for p in _below(child, above | {real}))]
