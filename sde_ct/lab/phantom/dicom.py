"""DICOM objects of an invented patient: series of images, structure sets, a registration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RTStructureSetStorage,
    SpatialRegistrationStorage,
)
from pydicom.valuerep import format_number_as_ds

from sde_ct.volumes.dicom.identity import derived_uid
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import Volume

CLASSES = {"CT": CTImageStorage, "MR": MRImageStorage}
Polygon = Float[np.ndarray, "n 3"]  # RAS mm


@dataclass(frozen=True)
class Invented:
    """Whom objects belong to; UIDs follow from the ID and what is written."""

    id: str
    name: str

    def object(self, sop_class: str, modality: str, series: str, instance: str) -> Dataset:
        """The tags that every object has."""
        data = Dataset()
        data.SOPClassUID = sop_class
        data.SOPInstanceUID = derived_uid(self.id, series, instance)
        data.Modality = modality
        data.PatientName, data.PatientID = self.name, self.id
        data.PatientBirthDate, data.PatientSex = "", "M"
        data.StudyInstanceUID = derived_uid(self.id, "study")
        data.SeriesInstanceUID = derived_uid(self.id, series)
        data.StudyDate, data.StudyTime, data.StudyID = "20200101", "120000", "1"
        data.AccessionNumber = data.ReferringPhysicianName = ""
        data.SeriesDescription = series
        data.Manufacturer = "sde_ct phantom"
        return data

    def frame(self, name: str) -> str:
        """UID of a frame of reference."""
        return derived_uid(self.id, "frame", name)


def images(
    owner: Invented,
    volume: Volume,
    modality: str,
    series: str,
    frame: str,
    *,
    intercept: int = 0,
    tags: Mapping[str, Any],
) -> list[Dataset]:
    """A series, one data set a slice of the volume's last axis.

    Args:
      volume: axes perpendicular; whole numbers that int16 holds, after `intercept` is taken off.
      series: its description.
      frame: name of the frame of reference.
      intercept: RescaleIntercept; voxels are stored unsigned where none falls below 0 then.
      tags: further tags by keyword.
    """
    affine, spacing = swap_lps_ras(volume.affine), volume.spacing
    stored = np.rint(volume.array - intercept).astype(np.int16)
    signed = int(stored.min() < 0)
    found = []
    for k in range(stored.shape[2]):
        image = owner.object(CLASSES[modality], modality, series, str(k))
        image.FrameOfReferenceUID = owner.frame(frame)
        image.PatientPosition = "HFS"
        image.InstanceNumber = k + 1
        image.ImagePositionPatient = _decimals(affine[:3, 3] + k * affine[:3, 2])
        image.ImageOrientationPatient = _decimals((affine[:3, :2] / spacing[:2]).T.ravel())
        image.PixelSpacing = _decimals(spacing[1::-1])  # distance of rows first
        image.SliceThickness = _decimals(spacing[2:])[0]
        image.Columns, image.Rows = stored.shape[:2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelRepresentation = signed
        if modality == "CT":
            image.RescaleSlope, image.RescaleIntercept = 1, intercept
            image.RescaleType = "HU"
        for keyword, value in tags.items():
            setattr(image, keyword, value)
        image.PixelData = np.ascontiguousarray(stored[..., k].T, "<i2").tobytes()
        found.append(image)
    return found


def structures(
    owner: Invented,
    series: str,
    frame: str,
    rois: Mapping[str, Sequence[Polygon]],
    types: Mapping[str, str],
) -> Dataset:
    """A structure set of closed planar contours; `types` gives the RT type of some ROIs."""
    data = owner.object(RTStructureSetStorage, "RTSTRUCT", series, "1")
    data.StructureSetLabel = data.StructureSetName = series[:16]
    data.StructureSetDate, data.StructureSetTime = "20200101", "120000"
    reference = Dataset()
    reference.FrameOfReferenceUID = owner.frame(frame)
    data.ReferencedFrameOfReferenceSequence = [reference]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    data.RTROIObservationsSequence = []
    for number, (name, polygons) in enumerate(rois.items(), start=1):
        roi, contours, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = owner.frame(frame)
        roi.ROIGenerationAlgorithm = "MANUAL"
        contours.ReferencedROINumber = number
        contours.ContourSequence = [_contour(polygon) for polygon in polygons]
        observed.ObservationNumber = observed.ReferencedROINumber = number
        observed.RTROIInterpretedType = types.get(name, "ORGAN")
        observed.ROIInterpreter = ""
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(contours)
        data.RTROIObservationsSequence.append(observed)
    return data


def _contour(polygon: Polygon) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(polygon)
    points = (swap_lps_ras(np.eye(4))[:3, :3] @ polygon.T).T
    contour.ContourData = [f"{v:.6g}" for v in points.ravel()]  # planning systems round too
    return contour


def registration(
    owner: Invented, series: str, moving: str, fixed: str, matrix: Float[np.ndarray, "4 4"]
) -> Dataset:
    """A rigid registration; `matrix` takes RAS mm of the frame `moving` to those of `fixed`."""
    data = owner.object(SpatialRegistrationStorage, "REG", series, "1")
    data.ContentDate, data.ContentTime, data.ContentLabel = "20200101", "120000", "RIGID"
    data.FrameOfReferenceUID = owner.frame(fixed)
    data.RegistrationSequence = []
    for frame, rows in ((fixed, np.eye(4)), (moving, swap_lps_ras(swap_lps_ras(matrix).T).T)):
        item, inner, leaf = Dataset(), Dataset(), Dataset()
        leaf.FrameOfReferenceTransformationMatrixType = "RIGID"
        leaf.FrameOfReferenceTransformationMatrix = _decimals(rows.ravel())
        inner.MatrixSequence = [leaf]
        item.FrameOfReferenceUID = owner.frame(frame)
        item.MatrixRegistrationSequence = [inner]
        data.RegistrationSequence.append(item)
    return data


def save_all(folder: Path, objects: Sequence[Dataset], order: Sequence[int]) -> None:
    """Write objects flat into one folder, numbered in `order`, named by their modality."""
    for number, data in zip(order, objects, strict=True):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{data.Modality}{number:05d}.dcm", enforce_file_format=True)


def _decimals(values) -> list[str]:
    return [format_number_as_ds(float(v)) for v in values]
