"""Write a synthetic CT as a CT series for planning systems."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Int16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from sde_ct.errors import InputError
from sde_ct.storage.versions import versions
from sde_ct.volumes.dicom.contents import CT, Labels
from sde_ct.volumes.dicom.identity import Identity, derived_uid
from sde_ct.volumes.dicom.stack import place_hash, plane, stacked
from sde_ct.volumes.volume import Volume, rounded_hu, voxel_sha256

# Every series of this package has this tag, so that preparation recognises its synthetic CTs.
MANUFACTURER = "sde_ct"


def write_ct_series(
    folder: str | os.PathLike, volume: Volume, identity: Identity, labels: Labels = CT
) -> Path:
    """Write one DICOM file per slice (CT Image Storage, int16 HU), whole or not at all.

    The series joins the MR's patient, study and frame of reference. All other UIDs are new and
    depend only on the content, so that the same volume gives the same files. The slices are those
    of the MR's series, numbered along their normal. If the MR is not DICOM, they are the slices
    nearest to axial, from inferior to superior.

    Args:
      folder: path of the new folder, in which slices are named 0001.dcm and so on.
      volume: HU on the MR's grid, rounded and clipped to int16.
      identity: the MR's identity, from `identity_of` or `new_identity`.
      labels: tags that describe the content of the series.

    Raises:
      InputError: the folder exists, the grid is not the MR's, the axes are not perpendicular, or a
        voxel is not finite.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists: choose another output or remove it first")
    voxels, affine, sources = stacked(volume, identity, str(folder))
    array = rounded_hu(voxels)
    common = _common(array, affine, identity, labels)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{os.getpid()}-{folder.name}")
    try:
        partial.mkdir()
        for k in range(array.shape[2]):
            image = _image(common, array[..., k], affine, k, sources[k] if sources else None)
            image.save_as(partial / f"{k + 1:04d}.dcm", enforce_file_format=True, overwrite=False)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def joined(identity: Identity) -> str:
    """Everything that a series copies from the MR, as text: tags and references to slices."""
    tags = (f"{element.tag} {element.value}" for element in identity.header)
    return "\n".join((*tags, *(" ".join(source) for source in identity.sources)))


def _common(array: np.ndarray, affine: np.ndarray, identity: Identity, labels: Labels) -> Dataset:
    """All tags that the slices of the series share."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    header = Dataset()
    header.update(identity.header)
    header.SOPClassUID, header.Modality = CTImageStorage, "CT"
    header.SeriesInstanceUID = derived_uid(
        *("series", joined(identity), "ct", place_hash(affine), voxel_sha256(array)),
        *(labels.description, labels.derivation),  # another remark makes another series
    )
    header.SeriesNumber, header.SeriesDescription = labels.number, labels.description
    header.ImageType = ["DERIVED", "SECONDARY", plane(affine)]
    header.DerivationDescription = labels.derivation
    header.Manufacturer = header.ManufacturerModelName = MANUFACTURER
    header.SoftwareVersions = versions()["sde-ct"]
    header.BurnedInAnnotation, header.LossyImageCompression = "NO", "00"
    # No X-ray was taken, but these tags must be present.
    header.AcquisitionNumber = header.KVP = None
    header.ImageOrientationPatient = _decimals((affine[:3, :2] / spacing[:2]).T.ravel())
    header.PixelSpacing = _decimals(spacing[1::-1])  # the distance between rows comes first
    header.SliceThickness, header.SpacingBetweenSlices = _decimals(spacing[[2, 2]])
    header.Columns, header.Rows = array.shape[:2]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation = 1  # signed
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = "1", "0", "HU"
    header.WindowCenter, header.WindowWidth = labels.window
    return header


def _image(
    common: Dataset,
    plane: Int16[np.ndarray, "x y"],
    affine: np.ndarray,
    k: int,
    source: tuple[str, ...] | None,
) -> Dataset:
    """The data set of slice `k`; `source` is the MR's slice at the same position."""
    image = Dataset()
    image.update(common)
    position = affine[:3, 3] + k * affine[:3, 2]
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    image.SOPInstanceUID = derived_uid("image", common.SeriesInstanceUID, str(k))
    image.InstanceNumber = k + 1
    image.ImagePositionPatient = _decimals(position)
    (image.SliceLocation,) = _decimals([position @ normal / np.linalg.norm(normal)])
    if source is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID, *frame = source
        if frame:
            reference.ReferencedFrameNumber = int(frame[0])
        image.SourceImageSequence = [reference]
    image.PixelData = np.ascontiguousarray(plane.T, "<i2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal strings of at most 16 characters, precise to 1e-9 mm or better."""
    return [format_number_as_ds(float(v)) for v in values]
