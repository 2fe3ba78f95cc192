"""Volumes on disk: NIfTI, MetaImage and DICOM in, NIfTI out; every way to be unusable is named."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from sde_ct.data import metaimage
from sde_ct.data.corners import corners_apart
from sde_ct.data.dicom.series import SUFFIXES as DICOM_SUFFIXES
from sde_ct.data.dicom.series import open_series
from sde_ct.data.dicom.slice import is_dicom
from sde_ct.data.hounsfield import require_hu
from sde_ct.data.quiet import quiet
from sde_ct.data.volume import Unit, Volume
from sde_ct.data.whole import whole
from sde_ct.errors import InputError

Format = Literal["NIfTI", "MetaImage", "DICOM"]
NIFTI_SUFFIXES = (".nii", ".nii.gz")
MILLIMETRES = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
# What nibabel, gzip and NumPy raise on damaged headers and data.
DAMAGE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    KeyError,
    OverflowError,
    MemoryError,
)
MODALITIES = {"HU": "CT", "a.u.": "MR"}  # what a DICOM series must be to hold the unit
VOXEL_MM = (0.01, 100.0)  # what may be a voxel's size


def read_volume(path: str | os.PathLike, unit: Unit) -> Volume:
    """Read a 3D volume from a NIfTI or MetaImage file or a series of DICOM slices.

    Args:
      path: `.nii`, `.nii.gz`, `.mha` or `.mhd`; a folder that holds one DICOM series of images,
        or one DICOM file, which stands for its series in its folder. A fourth axis of length 1
        in a NIfTI file is dropped.
      unit: "HU" for a CT, "a.u." for an MR, "mask" for a mask (any non-zero voxel is inside).

    Returns:
      The volume in the file's own order of axes, [column, row, slice] of a DICOM series;
      float32, or uint8 0/1 for a mask. The affine leads to RAS mm whatever the file's convention.

    Raises:
      InputError: the file is missing, damaged, of another type, not one 3D volume, holds
        non-finite voxels, no place in the patient or an impossible one, or is a CT that is
        plainly not in HU; a DICOM series is no one volume or of another modality (see
        `open_series`).
    """
    path = Path(path)
    array, affine = _read(path, MODALITIES.get(unit))
    volume = Volume((array != 0).astype(np.uint8) if unit == "mask" else array, affine, unit)
    if unit == "HU":
        require_hu(volume, path)
    return volume


def read_any(path: str | os.PathLike) -> Volume:
    """The voxels of a file or series whatever they are, float32, called a.u.; to look at them.

    Raises InputError as `read_volume`, but for units and modality.
    """
    return Volume(*_read(Path(path), None), "a.u.")


def _read(path: Path, modality: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Finite float32 voxels on three axes and a regular affine."""
    match format_of(path):
        case "NIfTI":
            array, affine = _read_nifti(path)
        case "MetaImage":
            array, affine = metaimage.read_metaimage(path)
        case "DICOM":
            array, affine = _read_dicom(path, modality)
    if array.ndim > 3 and all(n == 1 for n in array.shape[3:]):
        array = array.reshape(array.shape[:3])
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}: give one 3D volume")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype} voxels: give plain grey values")
    with np.errstate(over="ignore"):  # beyond float32 is not finite either
        array = array.astype(np.float32)
    if bad := int(array.size - np.isfinite(array).sum()):
        raise InputError(f"{path} holds {bad} voxels that are not finite: replace them and retry")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path} has a singular affine: repair the sform or qform in its header")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        shown = " x ".join(f"{s:.3g}" for s in spacing)
        raise InputError(f"{path} has voxels of {shown} mm: write spacing and unit in its header")
    return array, affine


def format_of(path: str | os.PathLike) -> Format:
    """What a path holds: by its name, a folder or the first bytes of a file.

    Raises InputError where nothing is there or it is of another type.
    """
    path = Path(path)
    name = path.name.lower()
    if path.is_dir():
        return "DICOM"
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path")
    if name.endswith(NIFTI_SUFFIXES):
        return "NIfTI"
    if name.endswith(metaimage.SUFFIXES):
        return "MetaImage"
    try:
        if name.endswith(DICOM_SUFFIXES) or is_dicom(path):
            return "DICOM"
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: check its permissions") from error
    raise InputError(f"{path} is not a NIfTI file, a MetaImage or DICOM: convert it to .nii.gz")


def files_of(path: Path) -> list[Path]:
    """Every file that `read_volume` reads for a path. Raises InputError where nothing is there."""
    match format_of(path):
        case "MetaImage":
            return metaimage.files_of(path)
        case "DICOM":
            return sorted(image.file for image in open_series(path).slices)
    return [path]


def _read_dicom(path: Path, modality: str | None) -> tuple[np.ndarray, np.ndarray]:
    series = open_series(path)
    if modality and series.modality != modality:
        raise InputError(f"{path} holds a series of {series.modality}: give one of {modality}")
    return series.read(), series.affine


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The voxels, scaled as the header says, and the affine in millimetres."""
    try:
        with quiet("nibabel.global"):  # what nibabel would mend is refused here
            image = nib.load(path)
            if not isinstance(image, nib.Nifti1Pair):  # CIFTI has the same suffix
                raise InputError(f"{path} holds a {type(image).__name__}: give a NIfTI volume")
            if path.name.lower().endswith(".gz"):
                # nibabel stops before the checksum at the end of the file; this does not.
                image = type(image).from_bytes(gzip.decompress(path.read_bytes()))  # type: ignore[attr-defined]
            array = np.asanyarray(image.dataobj)
        scale = MILLIMETRES[image.header.get_xyzt_units()[0]]
        _require_place(image.header, path)
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: check its permissions") from error
    except DAMAGE as error:
        raise InputError(f"{path} is damaged or not NIfTI: copy or export it again") from error
    return array, np.diag([scale, scale, scale, 1.0]) @ np.asarray(image.affine, np.float64)


def _require_place(header: Any, path: Path) -> None:
    """Refuse headers from which tools read two places, or make up one of their own."""
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise InputError(
            f"{path} says nothing of its place in the patient (sform_code and qform_code are 0): "
            "convert it again with its geometry"
        )
    if sform is None or qform is None:
        return
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError(
            f"{path} is mirrored by its sform against its qform: write the right one to both"
        )
    if not _is_one_place(header):
        apart = corners_apart(sform, qform, header.get_data_shape())
        raise InputError(
            f"{path} lies in two places, up to {apart:.3g} apart, by its sform and its qform: "
            "write the right one to both"
        )


def _is_one_place(header: Any) -> bool:
    """Whether sform and qform put every voxel within one of each other."""
    sform, qform = header.get_sform(), header.get_qform()
    apart = corners_apart(sform, qform, header.get_data_shape())
    return bool(apart <= np.linalg.norm(sform[:3, :3], axis=0).max())


def write_volume(path: str | os.PathLike, volume: Volume, *, overwrite: bool = False) -> Path:
    """Write a NIfTI file whole or not at all, in mm, with sform and, where it can, qform set.

    HU are rounded to int16 and clipped to its range, a mask becomes uint8, other units float32.

    Args:
      path: `.nii` or `.nii.gz`; its folder is made where it is absent.
      volume: finite voxels.
      overwrite: replace a file that is there already.

    Raises:
      InputError: the file exists and `overwrite` is false, the name is not NIfTI's, or voxels
        are not finite.
    """
    path = Path(path)
    if not path.name.lower().endswith(NIFTI_SUFFIXES):
        raise InputError(f"{path} is not a NIfTI name: let it end in .nii.gz")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another output or remove it first")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path} is not written: the volume holds voxels that are not finite")
    image = nib.Nifti1Image(_stored(volume), volume.affine)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    if not _is_one_place(image.header):  # a qform holds no shear: better none than another place
        image.set_qform(None)
    image.header.set_xyzt_units(xyz="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        nib.save(image, partial)
    return path


def _stored(volume: Volume) -> np.ndarray:
    if volume.unit == "HU":
        limits = np.iinfo(np.int16)
        return np.clip(np.rint(volume.array), limits.min, limits.max).astype(np.int16)
    return np.asarray(volume.array).astype(np.uint8 if volume.unit == "mask" else np.float32)
