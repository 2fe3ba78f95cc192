"""Read a series of DICOM slices as one volume."""

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.choice import Choice, chosen, require_one_volume
from sde_ct.volumes.dicom.frames import frame_header, framed, slices_of
from sde_ct.volumes.dicom.grid import arrange
from sde_ct.volumes.dicom.grouping import by_series, doubts, listed
from sde_ct.volumes.dicom.slice import (
    SCALE,
    Slice,
    is_beside,
    is_empty,
    may_be_dicom,
    printable,
    read_data,
    read_header,
    series_of,
)


@dataclass(frozen=True)
class Series:
    """A series whose headers were read and whose geometry was checked. `read` reads the voxels."""

    path: Path  # the path that was given: the folder, or one file of the series
    slices: tuple[Slice, ...]  # in their order along the normal
    affine: Float[np.ndarray, "4 4"]  # from voxel [column, row, slice] to RAS mm
    header: Dataset = field(repr=False)  # header of the first slice
    warnings: tuple[str, ...] = ()  # assumptions that were needed to read the files as one volume

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.slices[0].size, len(self.slices))

    @property
    def modality(self) -> str:
        return self.slices[0].modality

    @property
    def position(self) -> str | None:
        """The patient position, such as HFS (head first, supine); None if the header lacks it."""
        return str(self.header.get("PatientPosition") or "") or None

    def read(self) -> Float[np.ndarray, "columns rows slices"]:
        """The voxels, scaled as the tags say, float32. Raises InputError if a file is damaged."""
        array = np.empty(self.shape, np.float32)
        held = defaultdict(list)
        for k, image in enumerate(self.slices):
            held[image.file].append(k)
        for file, places in held.items():
            planes = _read_planes(file, [self.slices[k] for k in places])
            for k, plane in zip(places, planes, strict=True):
                array[..., k] = plane
        return array


def open_series(path: Path, choices: Sequence[Choice] = ()) -> Series:
    """The series in a folder, or the series that one file belongs to, with its geometry checked.

    Every header is read once. Subfolders are not searched. Structures, registrations and files of
    other types are ignored.

    Args:
      path: a folder that holds one series of images, or one file of the series.
      choices: only images with these values of tags are read.

    Raises:
      InputError: there is no image, or no image has the chosen values; there are several patients,
        several series, or several volumes in the series; a file is damaged; a slice is in colour or
        lacks a tag; frames are not described; or the slices do not form a volume (see `arrange`).
    """
    folder = path if path.is_dir() else path.parent
    headers = _headers(folder, None if path == folder else path)
    images = [pair for file, header in headers.items() for pair in framed(header, file)]
    if not images:
        below = sorted(f", such as {p.name}" for p in folder.iterdir() if p.is_dir())
        hint = below[0] if below and path == folder else ""
        raise InputError(f"{path} holds no DICOM image: give the folder of one series{hint}")
    if (patients := len({image.patient for image, _ in images})) > 1:
        raise InputError(
            f"{folder} holds images of {patients} patients: keep one patient per folder"
        )
    images = chosen(images, choices, folder)
    _require_one_series([image for image, _ in images], folder)
    require_one_volume(images, folder)
    slices, affine = arrange([image for image, _ in images], folder)
    first = next(header for image, header in images if image is slices[0])
    return Series(path, slices, affine, first, doubts(slices))


def require_same_frame(contrast: Series, first: Series) -> None:
    """Raise InputError if another MR contrast has another frame of reference."""
    if contrast.slices[0].frame != first.slices[0].frame:
        raise InputError(
            f"{contrast.path} lies in another frame of reference than {first.path}: give contrasts "
            "of one session, or register them first"
        )


def _read_planes(
    file: Path, images: Sequence[Slice]
) -> Iterator[Float[np.ndarray, "columns rows"]]:
    """The voxels of slices in one file, float32, scaled as their tags say (HU in a CT).

    Raises InputError if voxels are damaged, cut short, or compressed in a format that no installed
    library reads.
    """
    with decoding(file):
        # The file is read into memory, so a damaged length cannot request more than the file holds.
        data = read_data(io.BytesIO(file.read_bytes()))
        require_decoder(data.file_meta.TransferSyntaxUID, file)
        frames = data.pixel_array
        for image in images:
            header = data if image.frame_index is None else frame_header(data, image.frame_index)
            for keyword in SCALE:
                if keyword in header and is_empty(header, keyword):
                    del header[keyword]
            several = image.frame_index is not None and frames.ndim > 2
            plane = np.asarray(
                apply_modality_lut(frames[image.frame_index] if several else frames, header)
            )
            if plane.shape != image.size[::-1]:
                raise ValueError(f"{plane.shape} voxels")
            with np.errstate(over="ignore"):
                yield plane.T.astype(np.float32)


def require_decoder(syntax: UID, file: Path) -> None:
    """Refuse a transfer syntax whose voxels no installed library can read."""
    remedy = "decompress it"
    with suppress(NotImplementedError):
        decoder = get_decoder(syntax)
        if decoder.is_available:
            return
        if any("pylibjpeg-libjpeg" in missing for missing in decoder.missing_dependencies):
            remedy += ", or pip install '.[jpeg]'"
    raise InputError(
        f"{file} is compressed as {printable(syntax.name)}, which no installed library reads: "
        f"{remedy}"
    )


def read_series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The voxels and the affine to RAS mm. Raises InputError as `open_series` does."""
    series = open_series(path)
    return series.read(), series.affine


def files_of(path: Path) -> list[Path]:
    """The files of a series, sorted by name. Raises InputError as `open_series` does."""
    return sorted({image.file for image in open_series(path).slices})


def slice_files(folder: Path) -> list[Path]:
    """The files directly in a folder that may hold slices, without hidden files.

    A file may hold a slice if its suffix or first bytes are those of DICOM. A name without a suffix
    but with digits, such as IM0001 or 1.2.840.113, counts too, because a damaged slice must be
    reported. If no file counts, every file without a suffix does.
    """
    files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    bare = [f for f in files if not f.suffix or f.suffix[1:].isdigit()]
    numbered = {file for file in bare if any(c.isdigit() for c in file.name)}
    claiming = [file for file in files if file in numbered or may_be_dicom(file)]
    return [f for f in claiming or bare if f.name.upper() != "DICOMDIR"]


def _headers(folder: Path, wanted: Path | None) -> dict[Path, Dataset]:
    """The headers of the images in a folder, or in the series of one file."""
    try:
        headers = {file: read_header(file) for file in slice_files(folder)}
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its permissions") from error
    headers = {file: header for file, header in headers.items() if not is_beside(header, file)}
    return headers if wanted is None else {f: headers[f] for f in belonging(headers, wanted)}


def belonging(headers: Mapping[Path, Dataset], wanted: Path) -> list[Path]:
    """The files in the series of `wanted`, and the files without a SeriesInstanceUID.

    If this is `wanted` alone, `by_series` finds its series, because files may have their own UIDs.
    The result is empty if `wanted` is not in `headers`.
    """
    if wanted not in headers:
        return []
    uid = series_of(headers[wanted], wanted)
    files = [f for f, header in headers.items() if series_of(header, f) in (uid, "")]
    if files != [wanted]:
        return files
    images = []
    for file, header in headers.items():
        with suppress(InputError):  # the file may belong to another series
            images += slices_of(header, file)
    groups = [[image.file for image in some] for some in by_series(images)]
    return next((sorted(some) for some in groups if wanted in some), files)


def _require_one_series(images: Sequence[Slice], folder: Path) -> None:
    if len(series := by_series(images)) == 1:
        return
    raise InputError(
        f"{folder} holds {len(series)} series: {listed(series)}: instead of the folder, give the "
        "file that is named with the series that you want"
    )
