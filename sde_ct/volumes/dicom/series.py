"""A series of DICOM slices as one volume."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.grid import arrange
from sde_ct.volumes.dicom.slice import (
    Slice,
    is_beside,
    may_be_dicom,
    read_header,
    read_plane,
    series_of,
    slice_of,
)

SUFFIXES = (".dcm", ".dicom", ".ima")  # of files that claim to be slices
SHOWN = 8  # series that a sentence names


@dataclass(frozen=True)
class Series:
    """A checked series: its slices in order, its place, its voxels not yet read."""

    folder: Path
    slices: tuple[Slice, ...]
    affine: Float[np.ndarray, "4 4"]  # voxel [column, row, slice] to RAS mm

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.slices[0].size, len(self.slices))

    @property
    def modality(self) -> str:
        return self.slices[0].modality

    def read(self) -> Float[np.ndarray, "columns rows slices"]:
        """The voxels, scaled as the tags say, float32. InputError where a file is damaged."""
        array = np.empty(self.shape, np.float32)
        for k, image in enumerate(self.slices):
            array[..., k] = read_plane(image)
        return array


def open_series(path: Path) -> Series:
    """The series in a folder, or the series that one file belongs to, with its geometry checked.

    Subfolders are not searched; structures, registrations and files of other types are passed
    over.

    Args:
      path: a folder that holds one series of images, or one file of the series wanted.

    Raises:
      InputError: there is no image, or there are several patients or series; a file is damaged;
        a slice is colour, multi-frame or lacks a tag; the slices are no volume (see `arrange`).
    """
    folder = path if path.is_dir() else path.parent
    images = _images(folder, None if path == folder else path)
    if not images:
        raise InputError(_nothing(path))
    patients = len({image.patient for image in images})
    if patients > 1:
        raise InputError(f"{folder} holds images of {patients} patients: keep one a folder")
    _require_one_series(images, folder)
    return Series(folder, *arrange(images, folder))


def slice_files(folder: Path) -> list[Path]:
    """The files directly in a folder that claim to hold slices; hidden ones are passed over.

    By their suffix, their first bytes, or, so that a damaged slice claims too, by figures in a
    name without a suffix, such as IM0001 or 1.2.840.113; any without one where nothing else is.
    """
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    bare = [f for f in files if not f.suffix or f.suffix[1:].isdigit()]
    claiming = [
        file
        for file in files
        if file.suffix.lower() in SUFFIXES
        or (file in bare and any(c.isdigit() for c in file.name))
        or may_be_dicom(file)
    ]
    return [f for f in claiming or bare if f.name.upper() != "DICOMDIR"]


def _images(folder: Path, wanted: Path | None) -> list[Slice]:
    """The slices in a folder, or those of one file's series; nothing is asked of the others."""
    try:
        headers = {file: read_header(file) for file in slice_files(folder)}
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its permissions") from error
    headers = {file: header for file, header in headers.items() if not is_beside(header, file)}
    if wanted:
        if wanted not in headers:
            return []
        uid = slice_of(headers[wanted], wanted).series
        headers = {f: h for f, h in headers.items() if series_of(h, f) in (uid, "")}
    return [slice_of(header, file) for file, header in headers.items()]


def _require_one_series(images: Sequence[Slice], folder: Path) -> None:
    series = defaultdict(list)
    for image in images:
        series[image.series].append(image)
    if len(series) == 1:
        return
    found = [
        f"{members[0].description} ({members[0].modality}, {len(members)} slices, "
        f"{members[0].file.name})"
        for members in list(series.values())[:SHOWN]
    ]
    more = ", …" if len(series) > SHOWN else ""
    raise InputError(
        f"{folder} holds {len(series)} series: {', '.join(found)}{more}: give the named file of "
        "the series wanted in place of the folder"
    )


def _nothing(path: Path) -> str:
    if path.is_file():
        return f"{path} holds no image: give a slice of the series wanted"
    below = sorted(p.name for p in path.iterdir() if p.is_dir())
    if below:
        return f"{path} holds no DICOM image: give the subfolder of one series, such as {below[0]}"
    return f"{path} holds no DICOM image: give the folder of one series"
