"""Series of DICOM slices as scanners write them, made from the standard alone."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

SHAPE = (12, 10, 7)  # columns, rows, slices
SPACING = (0.8, 1.25, 3.0)  # mm: along a row of pixels, down a column, between slices
ORIGIN = (-31.5, 12.25, -140.125)  # LPS mm
CLASSES = {"CT": UID("1.2.840.10008.5.1.4.1.1.2"), "MR": UID("1.2.840.10008.5.1.4.1.1.4")}
ROOT = "1.2.826.0.1.3680043.10.1"

c, s = np.cos(0.4), np.sin(0.4)
a, b = np.cos(-0.7), np.sin(-0.7)
TURN = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, a, -b], [0, b, a]])
# Directions in LPS along a row of pixels and down a column.
ACQUISITIONS = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "oblique": (tuple(TURN[:, 0]), tuple(TURN[:, 1])),
    "flipped": ((-1, 0, 0), (0, 1, 0)),
    "prone": ((-1, 0, 0), (0, -1, 0)),
    "upside down": ((0, -1, 0), (0, 0, 1)),
}


def voxels(shape=SHAPE, seed=0) -> np.ndarray:
    """Integers [column, row, slice] that a CT in HU may hold; every voxel differs from its kin."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def write_series(
    folder: Path,
    array: np.ndarray,
    *,
    modality: str = "MR",
    axes=ACQUISITIONS["axial"],
    spacing=SPACING,
    origin=ORIGIN,
    number: int = 1,
    prefix: str = "IM",
    backwards: bool = False,
    **tags,
) -> Path:
    """Write `array` [column, row, slice], slices along the normal; `tags` overrides and adds.

    `number` tells series of one patient apart; `backwards` names and numbers the files from the
    last slice to the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = (np.array(v, float) for v in axes)
    depth = array.shape[2]
    for k in range(depth):
        n = depth - k if backwards else k + 1
        image = Dataset()
        image.SOPClassUID = CLASSES[modality]
        image.SOPInstanceUID = f"{ROOT}.{number}.{n}"
        image.Modality = modality
        image.PatientName, image.PatientID = "Doe^Jane", "J-17"
        image.PatientBirthDate, image.PatientSex = "19600102", "F"
        image.StudyInstanceUID, image.StudyID = f"{ROOT}.100", "S1"
        image.StudyDate, image.StudyTime, image.AccessionNumber = "20200304", "101112", "A9"
        image.SeriesInstanceUID = f"{ROOT}.{number}"
        image.SeriesDescription = f"t2 tse {number}"
        image.FrameOfReferenceUID = f"{ROOT}.200"
        image.PatientPosition = "FFS"
        image.InstanceNumber = n
        position = np.array(origin) + k * spacing[2] * np.cross(row, column)
        image.ImagePositionPatient = [f"{v:.10g}" for v in position]
        image.ImageOrientationPatient = [f"{v:.10g}" for v in (*row, *column)]
        image.PixelSpacing = [spacing[1], spacing[0]]
        image.SliceThickness = spacing[2]
        image.Columns, image.Rows = array.shape[:2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelRepresentation = int(array.dtype.kind == "i")
        if modality == "CT":
            image.RescaleSlope, image.RescaleIntercept = 1, 0
        image.PixelData = np.ascontiguousarray(array[..., k].T).tobytes()
        for keyword, value in tags.items():
            setattr(image, keyword, value)
        save(image, folder / f"{prefix}{n:03d}.dcm")
    return folder


def save(image: Dataset, path: Path) -> None:
    """Write a data set as a file, replacing one that is there."""
    if not hasattr(image, "file_meta"):
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def edit(path: Path, **tags) -> None:
    """Change tags of a file; None takes one out."""
    image = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            del image[keyword]
        else:
            setattr(image, keyword, value)
    image.save_as(path)


def patient_place(image: Dataset, column: int, row: int) -> np.ndarray:
    """LPS mm of a pixel's centre: the equation of PS3.3, C.7.6.2.1.1."""
    along, down = np.reshape([float(v) for v in image.ImageOrientationPatient], (2, 3))
    down_mm, along_mm = (float(v) for v in image.PixelSpacing)
    position = np.array([float(v) for v in image.ImagePositionPatient])
    return position + along * along_mm * column + down * down_mm * row
