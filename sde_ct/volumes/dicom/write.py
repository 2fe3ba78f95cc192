"""A synthetic CT, or the spread of its draws, as a CT series for planning systems."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Int16
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.contents import LABELS, Content
from sde_ct.volumes.dicom.identity import Identity, derived_uid
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import (
    CORNER_MM,
    Volume,
    corners_apart,
    left_posterior_superior,
    rounded_hu,
    voxel_sha256,
)

SHEAR = 1e-3  # cosine between axes: rounding in headers
SQUARE = 1e-3  # of a pixel's side, likewise


def write_ct_series(
    folder: str | os.PathLike,
    volume: Volume,
    identity: Identity,
    *,
    content: Content = "ct",
) -> Path:
    """Write one DICOM file a slice (CT Image Storage, int16 HU), whole or not at all.

    The series joins the MR's patient, study and frame of reference and shares no other UID with
    it; its own UIDs follow from what is written, so that the same volume gives the same files.
    Slices are those of the MR's series, numbered along their normal, or axial ones where the MR
    is of no series, from inferior to superior.

    Args:
      folder: to be made; slices are named 0001.dcm and on.
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
    _require_writable(folder, volume, identity)
    array, affine, sources = _stacked(volume, identity)
    common = _common(array, affine, identity, content)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{os.getpid()}-{folder.name}")
    try:
        partial.mkdir()
        for k in range(array.shape[2]):
            source = sources[k] if sources else None
            image = _image(common, array[..., k], affine, k, source)
            image.save_as(partial / f"{k + 1:04d}.dcm", enforce_file_format=True, overwrite=False)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _require_writable(folder: Path, volume: Volume, identity: Identity) -> None:
    refused = f"{folder} is not written: "
    if not np.isfinite(volume.array).all():
        raise InputError(f"{refused}the volume holds voxels that are not finite")
    shape = volume.array.shape
    if corners_apart(volume.affine, identity.affine, shape) > CORNER_MM or (
        identity.sources and len(identity.sources) != shape[2]
    ):
        raise InputError(f"{refused}it does not lie on the MR's grid; resample it to the MR")
    require_perpendicular(volume, str(folder))


def require_perpendicular(volume: Volume, name: str) -> None:
    """Refuse a grid that no series of DICOM slices can have; `name` is what a sentence calls it."""
    axes = volume.affine[:3, :3] / volume.spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > SHEAR:
        raise InputError(
            f"{name} is not written as DICOM: its axes are not perpendicular; resample it"
        )


def joined(identity: Identity) -> str:
    """All that a series takes from its MR's: tags kept and the slices referred to."""
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
    across, down = _pixel(identity)
    if abs(across / down - 1) > SQUARE:
        notes.append(
            f"The pixels of its CT series are {across:.3g} by {down:.3g} mm: where a planning "
            "system takes square ones only, resample the MR to them and synthesize it again."
        )
    return notes


def _pixel(identity: Identity) -> tuple[float, float]:
    """Size of a pixel of the series along its rows and columns, mm."""
    spacing = np.linalg.norm(identity.affine[:3, :3], axis=0)
    if not identity.sources:  # axial slices are made, of the grid's axes nearest to left and back
        spacing = spacing[np.argsort(nib.io_orientation(identity.affine)[:, 0])]
    return float(spacing[0]), float(spacing[1])


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
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
        affine[:3, 2] *= -1
    return array, affine, sources


def _common(array: np.ndarray, affine: np.ndarray, identity: Identity, content: Content) -> Dataset:
    """Everything that the slices of the series share."""
    spacing, labels = np.linalg.norm(affine[:3, :3], axis=0), LABELS[content]
    place = hashlib.sha256((np.round(affine, 6) + 0.0).tobytes()).hexdigest()  # no -0.0
    header = Dataset()
    header.update(identity.header)
    header.SOPClassUID = CTImageStorage
    header.Modality = "CT"
    header.SeriesInstanceUID = derived_uid(
        "series", joined(identity), content, place, voxel_sha256(array)
    )
    header.SeriesNumber = labels.number
    header.SeriesDescription = labels.description
    plane = "AXIAL" if _is_axial(affine) else "REFORMATTED"
    header.ImageType = ["DERIVED", "SECONDARY", plane, *labels.kind]
    header.DerivationDescription = labels.derivation
    header.Manufacturer = header.ManufacturerModelName = "sde_ct"
    header.SoftwareVersions = _version()
    header.BurnedInAnnotation = "NO"
    header.LossyImageCompression = "00"
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
    image.SOPInstanceUID = derived_uid("image", common.SeriesInstanceUID, str(k))
    image.InstanceNumber = k + 1
    image.ImagePositionPatient = _decimals(position)
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    image.SliceLocation = _decimals([position @ normal / np.linalg.norm(normal)])[0]
    if source is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source
        image.SourceImageSequence = [reference]
    image.PixelData = np.ascontiguousarray(plane.T, "<i2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _version() -> str:
    try:
        return metadata.version("sde-ct")
    except metadata.PackageNotFoundError:  # run from its folder
        return "unknown"


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal strings of 16 characters at most, as many digits as fit: 1e-9 mm or better."""
    return [format_number_as_ds(float(v)) for v in values]
