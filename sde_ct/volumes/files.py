"""Volumes on disk: NIfTI, MetaImage and DICOM in, NIfTI out; every way to be unusable is named."""

import os
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.whole import whole
from sde_ct.volumes import metaimage, nifti
from sde_ct.volumes.dicom.series import SUFFIXES as DICOM_SUFFIXES
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.slice import is_dicom
from sde_ct.volumes.hounsfield import require_hu
from sde_ct.volumes.volume import Unit, Volume, rounded_hu

Format = Literal["NIfTI", "MetaImage", "DICOM"]
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
            array, affine = nifti.read_nifti(path)
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
    if name.endswith(nifti.SUFFIXES):
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
    if not path.name.lower().endswith(nifti.SUFFIXES):
        raise InputError(f"{path} is not a NIfTI name: let it end in .nii.gz")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another output or remove it first")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path} is not written: the volume holds voxels that are not finite")
    image = nib.Nifti1Image(_stored(volume), volume.affine)
    image.set_sform(volume.affine, code="scanner")
    image.set_qform(volume.affine, code="scanner")
    if not nifti.is_one_place(image.header):
        image.set_qform(None)  # it holds no shear: better none than one of another place
    image.header.set_xyzt_units(xyz="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        nib.save(image, partial)
    return path


def _stored(volume: Volume) -> np.ndarray:
    if volume.unit == "HU":
        return rounded_hu(volume.array)
    return np.asarray(volume.array).astype(np.uint8 if volume.unit == "mask" else np.float32)
