"""DICOM objects of an invented patient: image series, structure sets and a registration."""

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
DATE, TIME = "20200101", "120000"
Polygon = Float[np.ndarray, "n 3"]  # RAS mm


def _dataset(**tags: Any) -> Dataset:
    """A data set with the given tags, named by their keywords."""
    data = Dataset()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


@dataclass(frozen=True)
class Invented:
    """The owner of the objects. UIDs are derived from the ID and the names of series and frames."""

    id: str
    name: str

    def object(self, sop_class: str, modality: str, series: str, instance: str) -> Dataset:
        """A data set with the tags that every object has."""
        data = _dataset(SOPClassUID=sop_class, Modality=modality, SeriesDescription=series)
        data.SOPInstanceUID = derived_uid(self.id, series, instance)
        data.StudyInstanceUID = derived_uid(self.id, "study")
        data.SeriesInstanceUID = derived_uid(self.id, series)
        data.PatientName, data.PatientID = self.name, self.id
        data.PatientBirthDate, data.PatientSex = "", "M"
        data.StudyDate, data.StudyTime, data.StudyID = DATE, TIME, "1"
        data.AccessionNumber = data.ReferringPhysicianName = ""
        data.Manufacturer = "sde_ct phantom"
        return data

    def frame(self, name: str) -> str:
        """The UID of a frame of reference."""
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
    """A series with one data set for each slice along the volume's last axis.

    Args:
      volume: with perpendicular axes. Its rounded values minus `intercept` must fit into int16.
      series: the series description.
      frame: name of the frame of reference.
      intercept: RescaleIntercept. Voxels are stored unsigned if none is below the intercept.
      tags: further tags by keyword.
    """
    affine, spacing = swap_lps_ras(volume.affine), volume.spacing
    stored = np.rint(volume.array - intercept).astype(np.int16)
    series_images = []
    for k in range(stored.shape[2]):
        image = owner.object(CLASSES[modality], modality, series, str(k))
        image.FrameOfReferenceUID = owner.frame(frame)
        image.PatientPosition, image.InstanceNumber = "HFS", k + 1
        image.ImagePositionPatient = _decimals(affine[:3, 3] + k * affine[:3, 2])
        image.ImageOrientationPatient = _decimals((affine[:3, :2] / spacing[:2]).T.ravel())
        image.PixelSpacing = _decimals(spacing[1::-1])  # the distance of rows comes first
        image.SliceThickness = _decimals(spacing[2:])[0]
        image.Columns, image.Rows = stored.shape[:2]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelRepresentation = int(stored.min() < 0)
        if modality == "CT":
            image.RescaleSlope, image.RescaleIntercept = 1, intercept
            image.RescaleType = "HU"
        image.update(_dataset(**tags))
        image.PixelData = np.ascontiguousarray(stored[..., k].T, "<i2").tobytes()
        series_images.append(image)
    return series_images


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
    data.StructureSetDate, data.StructureSetTime = DATE, TIME
    uid = owner.frame(frame)
    data.ReferencedFrameOfReferenceSequence = [_dataset(FrameOfReferenceUID=uid)]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    data.RTROIObservationsSequence = []
    for number, (name, polygons) in enumerate(rois.items(), start=1):
        roi = _dataset(ROINumber=number, ROIName=name, ROIGenerationAlgorithm="MANUAL")
        roi.ReferencedFrameOfReferenceUID = uid
        observed = _dataset(ObservationNumber=number, ReferencedROINumber=number, ROIInterpreter="")
        observed.RTROIInterpretedType = types.get(name, "ORGAN")
        outlines = [_contour(polygon) for polygon in polygons]
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(
            _dataset(ReferencedROINumber=number, ContourSequence=outlines)
        )
        data.RTROIObservationsSequence.append(observed)
    return data


def _contour(polygon: Polygon) -> Dataset:
    points = (swap_lps_ras(np.eye(4))[:3, :3] @ polygon.T).T
    return _dataset(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(polygon),
        ContourData=[f"{v:.6g}" for v in points.ravel()],  # planning systems round too
    )


def registration(
    owner: Invented, series: str, moving: str, fixed: str, matrix: Float[np.ndarray, "4 4"]
) -> Dataset:
    """A rigid registration. `matrix` maps RAS mm of the frame `moving` to those of `fixed`."""
    data = owner.object(SpatialRegistrationStorage, "REG", series, "1")
    data.ContentDate, data.ContentTime, data.ContentLabel = DATE, TIME, "RIGID"
    data.FrameOfReferenceUID = owner.frame(fixed)
    data.RegistrationSequence = []
    for frame, rows in ((fixed, np.eye(4)), (moving, swap_lps_ras(swap_lps_ras(matrix).T).T)):
        leaf = _dataset(FrameOfReferenceTransformationMatrixType="RIGID")
        leaf.FrameOfReferenceTransformationMatrix = _decimals(rows.ravel())
        item = _dataset(FrameOfReferenceUID=owner.frame(frame))
        item.MatrixRegistrationSequence = [_dataset(MatrixSequence=[leaf])]
        data.RegistrationSequence.append(item)
    return data


def save_all(folder: Path, objects: Sequence[Dataset], order: Sequence[int]) -> None:
    """Write objects into one folder; files are named by modality and by the number in `order`."""
    for number, data in zip(order, objects, strict=True):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{data.Modality}{number:05d}.dcm", enforce_file_format=True)


def _decimals(values) -> list[str]:
    return [format_number_as_ds(float(v)) for v in values]
