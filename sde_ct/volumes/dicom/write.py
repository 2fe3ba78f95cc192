"""Write a synthetic CT, or the spread of its draws, as a CT series for planning systems."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from sde_ct.errors import InputError
from sde_ct.storage.versions import versions
from sde_ct.volumes.dicom.contents import LABELS, Content
from sde_ct.volumes.dicom.identity import Identity, derived_uid
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import (
    CORNER_MM,
    Volume,
    corners_apart,
    is_perpendicular,
    left_posterior_superior,
    rounded_hu,
    voxel_sha256,
)

SHEAR = 1e-3  # cosine between axes: rounding in headers
SQUARE = 1e-3  # of a pixel's side: larger differences are no rounding


def write_ct_series(
    folder: str | os.PathLike, volume: Volume, identity: Identity, *, content: Content = "ct"
) -> Path:
    """Write one DICOM file a slice (CT Image Storage, int16 HU), whole or not at all.

    The series joins the MR's patient, study and frame of reference. All other UIDs are new and
    follow from what is written, so that the same volume gives the same files. Its slices are those
    of the MR's series, numbered along their normal, or axial ones from inferior to superior where
    the MR did not come as DICOM.

    Args:
      folder: to be made; slices are named 0001.dcm and so on.
      volume: HU on the MR's grid, rounded and clipped to int16.
      identity: of the MR, by `identity_of` or `new_identity`.
      content: what the voxels are.

    Raises:
      InputError: the folder exists, the grid is not the MR's, its axes are not perpendicular, or
        a voxel is not finite.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists: choose another output or remove it first")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{folder} is not written: the volume holds voxels that are not finite")
    shape = volume.array.shape
    same_depth = len(identity.sources) in (0, shape[2])
    if not same_depth or corners_apart(volume.affine, identity.affine, shape) > CORNER_MM:
        raise InputError(
            f"{folder} is not written: it does not lie on the MR's grid; resample it to the MR"
        )
    require_perpendicular(volume, str(folder))
    array, affine, sources = _stacked(volume, identity)
    common = _common(array, affine, identity, content)
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


def require_perpendicular(volume: Volume, name: str) -> None:
    """Refuse a grid that no series of DICOM slices can have; messages call the volume `name`."""
    if not is_perpendicular(volume.affine, SHEAR):
        raise InputError(
            f"{name} is not written as DICOM: its axes are not perpendicular; resample it"
        )


def joined(identity: Identity) -> str:
    """All that a series takes from the MR's: the tags kept and the slices referred to."""
    tags = (f"{element.tag} {element.value}" for element in identity.header)
    return "\n".join((*tags, *(" ".join(source) for source in identity.sources)))


def slice_notes(identity: Identity) -> list[str]:
    """What a planner should know of the slices before using them."""
    notes = []
    if identity.sources and not _is_axial(identity.affine):
        notes.append(
            "The MR's slices are not axial and nor are those of its CT series (ImageType "
            "REFORMATTED): reformat it to axial slices before planning."
        )
    spacing = np.linalg.norm(identity.affine[:3, :3], axis=0)
    if not identity.sources:  # slices are made axial: their rows run along the axis nearest to left
        spacing = spacing[np.argsort(nib.io_orientation(identity.affine)[:, 0])]
    if abs(spacing[0] / spacing[1] - 1) > SQUARE:
        notes.append(
            f"The pixels of its CT series are {spacing[0]:.3g} by {spacing[1]:.3g} mm: where a "
            "planning system takes square ones only, resample the MR to them and synthesize it "
            "again."
        )
    return notes


def _is_axial(affine: Float[np.ndarray, "4 4"]) -> bool:
    """Whether slices along the last axis are nearer to axial than to sagittal or coronal."""
    return int(np.abs(affine[:3, 2]).argmax()) == 2


def _stacked(
    volume: Volume, identity: Identity
) -> tuple[Int16[np.ndarray, "x y z"], Float[np.ndarray, "4 4"], tuple[tuple[str, str], ...]]:
    """Voxels in int16, the affine to LPS mm, and the sources, slices along their normal."""
    if not identity.sources:
        volume = left_posterior_superior(volume)
    array, sources = rounded_hu(volume.array), identity.sources
    affine = swap_lps_ras(volume.affine)
    if np.linalg.det(affine[:3, :3]) < 0:  # the last axis runs against the normal of the others
        array, sources = array[..., ::-1], sources[::-1]
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    return array, affine, sources


def _common(array: np.ndarray, affine: np.ndarray, identity: Identity, content: Content) -> Dataset:
    """All tags that the slices of the series share."""
    spacing, labels = np.linalg.norm(affine[:3, :3], axis=0), LABELS[content]
    place = hashlib.sha256((np.round(affine, 6) + 0.0).tobytes()).hexdigest()  # no -0.0
    header = Dataset()
    header.update(identity.header)
    header.SOPClassUID, header.Modality = CTImageStorage, "CT"
    header.SeriesInstanceUID = derived_uid(
        "series", joined(identity), content, place, voxel_sha256(array)
    )
    header.SeriesNumber, header.SeriesDescription = labels.number, labels.description
    plane = "AXIAL" if _is_axial(affine) else "REFORMATTED"
    header.ImageType = ["DERIVED", "SECONDARY", plane, *labels.kind]
    header.DerivationDescription = labels.derivation
    header.Manufacturer = header.ManufacturerModelName = "sde_ct"
    header.SoftwareVersions = versions()["sde-ct"]
    header.BurnedInAnnotation, header.LossyImageCompression = "NO", "00"
    header.AcquisitionNumber = header.KVP = None  # no X-ray was taken; wanted present, if empty
    header.ImageOrientationPatient = _decimals((affine[:3, :2] / spacing[:2]).T.ravel())
    header.PixelSpacing = _decimals(spacing[1::-1])  # distance of rows first
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
    source: tuple[str, str] | None,
) -> Dataset:
    """The data set of slice `k`; `source` is the MR's slice in its place."""
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
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source
        image.SourceImageSequence = [reference]
    image.PixelData = np.ascontiguousarray(plane.T, "<i2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal strings of 16 characters at most, as many digits as fit: 1e-9 mm or better."""
    return [format_number_as_ds(float(v)) for v in values]
