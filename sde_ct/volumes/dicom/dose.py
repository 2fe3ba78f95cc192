"""Read a dose grid from one RTDOSE file of many frames, as planning systems export it."""

import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.series import require_decoder
from sde_ct.volumes.dicom.slice import is_empty
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import Volume

UNEVEN_MM = 0.05  # headers round the distances between frames, so these may differ by this much
REQUIRED = (
    *("Modality", "DoseUnits", "DoseGridScaling", "GridFrameOffsetVector", "NumberOfFrames"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel"),
    *("PhotometricInterpretation", "PixelData"),
)


def read_rtdose(file: Path) -> Volume:
    """The dose [column, row, frame] in Gy, as a volume.

    Raises:
      InputError: the file is damaged or no RTDOSE, it lacks a tag, the dose is not in Gy, or the
        frames are not evenly spaced.
    """
    with decoding(file):
        image = pydicom.dcmread(io.BytesIO(file.read_bytes()))
        if image.get("Modality", "RTDOSE") not in ("", None, "RTDOSE"):
            raise InputError(f"{file} is not an RTDOSE: give an RTDOSE file in Gy")
        lacking = [keyword for keyword in REQUIRED if is_empty(image, keyword)]
        if is_empty(image.file_meta, "TransferSyntaxUID"):
            lacking.append("TransferSyntaxUID")
        if lacking:
            raise InputError(f"{file} lacks {', '.join(lacking)}: export the dose again")
        if image.DoseUnits != "GY":
            raise InputError(f"{file} is in {image.DoseUnits}: export the dose in Gy")
        affine = _affine(image, file)
        require_decoder(image.file_meta.TransferSyntaxUID, file)
        dose = image.pixel_array * float(image.DoseGridScaling)
        if dose.shape != (len(image.GridFrameOffsetVector), image.Rows, image.Columns):
            raise ValueError(f"{dose.shape} voxels")
    return Volume(dose.T.astype(np.float32), swap_lps_ras(affine), "a.u.")


def _affine(image: Dataset, file: Path) -> np.ndarray:
    """The affine from voxel [column, row, frame] to LPS mm (PS3.3, C.8.8.3.2)."""
    along, down = np.reshape(np.array(image.ImageOrientationPatient, float), (2, 3))
    offsets = np.array(image.GridFrameOffsetVector, float)
    steps = np.diff(offsets)
    if np.ptp(steps) > UNEVEN_MM or abs(steps[0]) <= UNEVEN_MM:
        raise InputError(f"{file} has frames that are not evenly spaced: export an even grid")
    # Offsets that begin at 0 are distances along the normal; other offsets are z coordinates.
    upwards = np.cross(along, down) if offsets[0] == 0 else np.array([0.0, 0.0, 1.0])
    rows_mm, columns_mm = (float(v) for v in image.PixelSpacing)
    axes = np.column_stack([along * columns_mm, down * rows_mm, upwards * steps.mean()])
    return nib.affines.from_matvec(axes, np.array(image.ImagePositionPatient, float))
