"""Read the tags of one DICOM file, and the slice that they describe."""

import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.volume import GRID_TOLERANCE

SUFFIXES = (".dcm", ".dicom", ".ima")
# Modalities of objects that accompany a patient's images.
COMPANIONS = ("REG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTRECORD", "SEG", "SR", "PR", "KO", "DOC")
DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR
STORAGE = "1.2.840.10008.5.1.4.1.1."
# These classes are spectra, presentations, parametric maps, raw data, registrations, segmentations,
# reports, documents and RT.
NO_IMAGES = tuple(STORAGE + end for end in ("4.2", "11.", "30", "66", "88.", "104.", "481."))
# Secondary captures (7) and photographs (77). Without a position, a secondary capture is a
# screenshot or a dose report.
PICTURE = f"{STORAGE}7"
REQUIRED = (
    *("SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
)
SCALE = ("RescaleSlope", "RescaleIntercept")
LARGEST_MM = 1e5  # no scanner is larger than this, but most damaged numbers are


class Slice(NamedTuple):
    """One image of a series, without its voxels."""

    file: Path
    modality: str
    patient: str
    series: str
    description: str
    frame: str  # frame of reference; coordinates of two frames have nothing in common
    # Class and instance, and in a multi-frame file the number of the frame, from 1.
    sop: tuple[str, ...]
    size: tuple[int, int]  # columns, rows
    spacing: Float[np.ndarray, "2"]  # mm, along a row of pixels and down a column
    position: Float[np.ndarray, "3"]  # centre of the first pixel, LPS mm
    orientation: Float[np.ndarray, "2 3"]  # unit vectors along a row and down a column, LPS
    frame_index: int | None = None  # index of the frame in a multi-frame file


def may_be_dicom(file: Path) -> bool:
    """Whether a file has the suffix or the first bytes of DICOM, or cannot be read.

    A file that cannot be read counts, so that its reader reports the fault.
    """
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with file.open("rb") as content:
            return content.read(132)[128:] == b"DICM"
    except OSError:
        return True


def read_header(file: Path) -> Dataset:
    """All tags except the voxels. Raises InputError if they cannot be read."""
    with decoding(file):
        return read_data(file, stop_before_pixels=True)


def is_beside(header: Dataset, file: Path) -> bool:
    """Whether a file only accompanies images: structures, reports, screenshots, directories."""
    with decoding(file):
        kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID"))
        # A file without Modality is damaged, unless it is a directory.
        if not (modality := _text(header, "Modality")):
            return kind == DIRECTORY
        if kind.startswith(PICTURE):
            return not header.get("ImagePositionPatient")
        return kind.startswith(NO_IMAGES) or modality in COMPANIONS


def series_of(header: Dataset, file: Path) -> str:
    """The UID of the file's series; empty if the header has none."""
    with decoding(file):
        return str(header.get("SeriesInstanceUID") or "")


def slice_of(header: Dataset, file: Path, index: int | None = None) -> Slice:
    """The slice in an image file, or the slice of frame `index`.

    Raises InputError if the file is damaged, in colour or multi-frame, or lacks a tag.
    """
    with decoding(file):
        if not (modality := _text(header, "Modality")):
            raise InputError(f"{file} lacks Modality: export the series with all its tags")
        _require_plain_image(header, modality, file)
        return Slice(
            file=file,
            modality=modality,
            patient=_person(header),
            series=str(header.SeriesInstanceUID),
            description=_text(header, "SeriesDescription") or "unnamed",
            frame=str(header.get("FrameOfReferenceUID") or ""),
            sop=(
                *(str(header.SOPClassUID), str(header.SOPInstanceUID)),
                *(() if index is None else (str(index + 1),)),
            ),
            size=(int(header.Columns), int(header.Rows)),
            # The first value of PixelSpacing is the distance between rows.
            spacing=_numbers(header, "PixelSpacing", 2, file, positive=True)[::-1],
            position=_numbers(header, "ImagePositionPatient", 3, file),
            orientation=_orientation(header, file),
            frame_index=index,
        )


def read_data(source: Path | io.BytesIO, **options: Any) -> Dataset:
    """Read a data set, even from a file without the preamble of a DICOM file."""
    try:
        return pydicom.dcmread(source, **options)
    except InvalidDicomError:
        if isinstance(source, io.BytesIO):
            source.seek(0)
        data = pydicom.dcmread(source, force=True, **options)
        if not data.get("SOPClassUID"):  # pydicom makes a data set of any file
            raise
        implicit, _ = data.original_encoding
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        data.file_meta.setdefault("TransferSyntaxUID", syntax)
        return data


def _require_plain_image(header: Dataset, modality: str, file: Path) -> None:
    """Refuse anything but one frame of grey values with a position in the patient."""
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1 or "SharedFunctionalGroupsSequence" in header:
        kind = f"a multi-frame image ({frames} frames)" if frames != 1 else "an enhanced image"
        raise InputError(f"{file} is {kind}: export it with one file per slice")
    colours = _text(header, "PhotometricInterpretation") or "MONOCHROME2"
    if int(header.get("SamplesPerPixel") or 1) != 1 or colours != "MONOCHROME2":
        raise InputError(f"{file} holds {colours} pixels: give the series of plain grey values")
    lacking = [keyword for keyword in REQUIRED if is_empty(header, keyword)]
    scale = [keyword for keyword in SCALE if is_empty(header, keyword)]
    # Without these tags an MR keeps its stored values, but the unit of a CT is unknown.
    if len(scale) == 1 or (modality == "CT" and not header.get("ModalityLUTSequence")):
        lacking += scale
    if lacking:
        raise InputError(f"{file} lacks {', '.join(lacking)}: export the series with all its tags")


def is_empty(header: Dataset, keyword: str) -> bool:
    return header.get(keyword) in (None, "", [])


def _person(header: Dataset) -> str:
    """The ID, and the name without capitals, separators and other scripts."""
    name = str(header.get("PatientName") or "").split("=")[0]
    return f"{_text(header, 'PatientID')}\n{' '.join(re.findall('[^^ ]+', name)).lower()}"


def _text(header: Dataset, keyword: str) -> str:
    """A value for a message: text on one line, empty if the tag is absent."""
    return printable(str(header.get(keyword) or ""))


def printable(text: str) -> str:
    """The text on one line, with "?" for each control character."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def _numbers(
    header: Dataset, keyword: str, count: int, file: Path, *, positive: bool = False
) -> np.ndarray:
    values = np.array([float(v) for v in np.atleast_1d(header[keyword].value)])
    # NaN fails this comparison.
    sound = values.shape == (count,) and (np.abs(values) < LARGEST_MM).all()
    if not sound or (positive and values.min() <= 0):
        raise InputError(f"{file} has an impossible {keyword}: export the series again")
    return values


def _orientation(header: Dataset, file: Path) -> Float[np.ndarray, "2 3"]:
    axes = _numbers(header, "ImageOrientationPatient", 6, file).reshape(2, 3)
    # Headers store cosines with few digits; this tolerance is 100 times their rounding.
    if np.abs(axes @ axes.T - np.eye(2)).max() > 100 * GRID_TOLERANCE:
        raise InputError(
            f"{file} has axes in ImageOrientationPatient that are not perpendicular unit vectors: "
            "export the series again"
        )
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)
