"""The one table of file formats, with their suffixes, readers and writers.

To add a format, write a module with the functions of a `Format`, and add a row to `FORMATS`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes import metaimage, nifti
from sde_ct.volumes.dicom import series
from sde_ct.volumes.dicom.slice import SUFFIXES, may_be_dicom

Voxels = tuple[np.ndarray, np.ndarray]  # the array and its affine to RAS mm


class Format(NamedTuple):
    """One format of volumes."""

    suffixes: tuple[str, ...]  # in lower case; the first one is used for writing
    read: Callable[[Path], Voxels]
    # Called with path, array, affine to RAS mm and, if the format has `space`, the space. None if
    # `files.write_volume` does not write the format.
    write: Callable[..., None] | None
    files: Callable[[Path], list[Path]] = lambda path: [path]  # every file that holds the volume
    text: Callable[[Path], str] = lambda path: ""  # free text of the header, which may hold names
    space: Callable[[Path], int] | None = None  # see `Volume`; None if files cannot hold it


FORMATS = {
    "NIfTI": Format(
        (".nii.gz", ".nii"),
        nifti.read_nifti,
        nifti.write_nifti,
        text=nifti.header_text,
        space=nifti.space,
    ),
    "MetaImage": Format(
        (".mha", ".mhd"),
        metaimage.read_metaimage,
        metaimage.write_metaimage,
        metaimage.files_of,
        metaimage.header_text,
    ),
    # DICOM is a series of files, often with one slice each. Its writers in `dicom/` need the MR's
    # identity, so `files.write_volume` does not call them.
    "DICOM": Format(SUFFIXES, series.read_series, None, series.files_of),
}


def image_suffixes() -> tuple[str, ...]:
    """The suffixes of all formats but DICOM, whose volumes are series of files."""
    return tuple(s for name, row in FORMATS.items() if name != "DICOM" for s in row.suffixes)


def image_stem(path: Path) -> str | None:
    """The file's name without its suffix; None if this is not one of `image_suffixes`."""
    suffix = next((s for s in image_suffixes() if path.name.lower().endswith(s)), None)
    return suffix and path.name[: -len(suffix)]


def format_of(path: Path) -> str:
    """The name of a path's format.

    A folder is DICOM. The suffix gives the format of a file. A file with another suffix is DICOM if
    it begins as DICOM files do or cannot be read. Raises InputError if the path does not exist or
    the file has another format.
    """
    if path.is_dir():
        return "DICOM"
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path")
    for name, row in FORMATS.items():
        if path.name.lower().endswith(row.suffixes):
            return name
    if may_be_dicom(path):
        return "DICOM"
    raise InputError(f"{path} is not {either_format()}: convert it to .nii.gz")


def either_format() -> str:
    """The names of all formats, for a sentence."""
    *names, last = FORMATS
    return f"{', '.join(names)} or {last}"
