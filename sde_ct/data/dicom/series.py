"""A series of DICOM slices as one volume."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sde_ct.data.dicom.grid import arrange
from sde_ct.data.dicom.slice import Slice, is_dicom, read_plane, read_slice
from sde_ct.errors import InputError

SUFFIXES = ("", ".dcm", ".dicom", ".ima")  # of files that claim to be slices
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
      InputError: there is no image, or there are several patients or series; a file is damaged,
        colour, multi-frame or lacks a tag; the slices are no volume (see `arrange`).
    """
    folder = path if path.is_dir() else path.parent
    images = _images(folder)
    if path != folder:
        wanted = {image.series for image in images if image.file == path}
        images = [image for image in images if image.series in wanted]
    if not images:
        raise InputError(_nothing(path))
    patients = len({image.patient for image in images})
    if patients > 1:
        raise InputError(f"{folder} holds images of {patients} patients: keep one a folder")
    _require_one_series(images, folder)
    return Series(folder, *arrange(images, folder))


def slice_files(folder: Path) -> list[Path]:
    """The files directly in a folder that claim to hold slices; hidden ones are passed over."""
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    return [file for file in files if _claims_to_be_a_slice(file)]


def _images(folder: Path) -> list[Slice]:
    try:
        slices = [read_slice(file) for file in slice_files(folder)]
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its permissions") from error
    return [image for image in slices if image is not None]


def _claims_to_be_a_slice(file: Path) -> bool:
    """Numbers as a suffix are part of a name such as 1.2.840.113; a damaged slice claims too."""
    suffix = file.suffix.lower()
    return suffix in SUFFIXES or suffix[1:].isdigit() or is_dicom(file)


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
