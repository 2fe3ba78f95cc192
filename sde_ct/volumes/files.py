"""Read and write volumes in any format of `formats.py`, and refuse unusable files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sde_ct.errors import InputError
from sde_ct.storage.whole import whole
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.series import Series, open_series
from sde_ct.volumes.formats import FORMATS, format_of
from sde_ct.volumes.hounsfield import require_hu
from sde_ct.volumes.masks import inside
from sde_ct.volumes.mr import require_mr
from sde_ct.volumes.volume import Unit, Volume, rounded_hu

MODALITIES = {"HU": "CT", "a.u.": "MR"}  # the modality that a DICOM series must have for each unit
VOXEL_MM = (0.01, 100.0)  # smallest and largest allowed side of a voxel

VolumeSource = str | os.PathLike | Series


def read_volume(source: VolumeSource, unit: Unit) -> Volume:
    """Read a 3D volume from an image file or a series of DICOM slices.

    Args:
      source: a file in a format of `FORMATS`; a folder that holds one DICOM series of images; one
        DICOM file, whose whole series is read; or a series that `open_series` returned. Further
        axes of length 1 are dropped.
      unit: "HU" for a CT, "a.u." for an MR, "mask" for a mask (see `masks.inside`).

    Returns:
      The volume, float32, or uint8 0/1 for a mask. Axes keep the file's own order, which is
      [column, row, slice] for DICOM. The affine leads to RAS mm whatever the file's convention.

    Raises:
      InputError: the file is missing, damaged or of another format; it is not one 3D volume of
        finite voxels with a possible position in the patient; a CT is plainly not in HU; the values
        of a mask are not those of a mask; or a DICOM series is not one volume (see `open_series`)
        or has another modality.
    """
    volume = read_any(source, MODALITIES.get(unit))
    if unit == "mask":
        marked = inside(volume.array, str(_path(source)))
        return volume.with_array(marked.astype(np.uint8), unit)
    volume = volume.with_array(volume.array, unit)
    if unit == "HU":
        require_hu(volume, _path(source))
    return volume


def read_mr(source: VolumeSource) -> Volume:
    """Read an MR. Raises InputError as `read_volume` does, or for a CT, a mask or labels."""
    mr = read_volume(source, "a.u.")
    require_mr(mr, _path(source))
    return mr


def read_mask(source: VolumeSource) -> Volume:
    """Read a body mask. Raises InputError as `read_volume` does, or if all voxels are marked."""
    mask = read_volume(source, "mask")
    if mask.array.all():
        raise InputError(
            f"{_path(source)} marks every voxel: give a mask of the body alone, or give no mask "
            "to have it computed"
        )
    return mask


def read_any(source: VolumeSource, modality: str | None = None) -> Volume:
    """Read voxels of any kind, as float32 with unit a.u.

    Raises InputError as `read_volume` does, but accepts every unit and, without `modality`, every
    modality.
    """
    path = _path(source)
    array, affine, space = _read(source, path, modality)
    if array.ndim > 3 and all(n == 1 for n in array.shape[3:]):
        array = array.reshape(array.shape[:3])
    if array.ndim != 3 or 0 in array.shape:
        raise InputError(f"{path} holds an array of shape {array.shape}: give one 3D volume")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype} voxels: give plain grey values")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite
        array = array.astype(np.float32)
    if bad := int(array.size - np.isfinite(array).sum()):
        raise InputError(f"{path} holds {bad} voxels that are not finite: replace them and retry")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path} has a singular affine: repair the geometry in its header")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        sides = " x ".join(f"{s:.3g}" for s in spacing)
        raise InputError(f"{path} has voxels of {sides} mm: correct spacing and unit in its header")
    return Volume(array, affine, "a.u.", space)


def _path(source: VolumeSource) -> Path:
    return source.path if isinstance(source, Series) else Path(source)


def _read(
    source: VolumeSource, path: Path, modality: str | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """The voxels, the affine to RAS mm and the space (see `Volume`)."""
    if not isinstance(source, Series) and (name := format_of(path)) != "DICOM":
        row = FORMATS[name]
        return (*row.read(path), row.space(path) if row.space else 1)
    series = source if isinstance(source, Series) else open_series(path)
    if modality and series.modality != modality:
        raise InputError(f"{path} holds a series of {series.modality}: give one of {modality}")
    return series.read(), series.affine, 1


def open_source(path: Path, choices: Sequence[Choice] = ()) -> Path | Series:
    """The DICOM series at a path, with its headers read; for other formats, the path itself.

    Raises InputError as `open_series` does, or if there are choices but the path is not DICOM.
    """
    if format_of(path) == "DICOM":
        return open_series(path, choices)
    if choices:
        raise InputError(
            f"{path} is not DICOM, but --choose selects by DICOM tags: leave the flag out"
        )
    return path


def files_of(path: Path | Series) -> list[Path]:
    """Every file that holds a part of a volume. Raises InputError if these cannot be found."""
    if isinstance(path, Series):
        return sorted({image.file for image in path.slices})
    return FORMATS[format_of(path)].files(path)


def write_volume(path: str | os.PathLike, volume: Volume, *, overwrite: bool = False) -> Path:
    """Write a volume whole or not at all, in the format that the suffix names.

    HU are rounded to int16 and clipped to its range, a mask becomes uint8, other units float32.
    NIfTI files also keep the volume's `space`.

    Args:
      path: `.nii.gz`, `.nii` or `.mha`; its folder is created if necessary.
      volume: finite voxels.
      overwrite: replace an existing file.

    Raises:
      InputError: the file exists and `overwrite` is false, no format with this suffix can be
        written, or voxels are not finite.
    """
    path = Path(path)
    row = next((r for r in FORMATS.values() if path.name.lower().endswith(r.suffixes)), None)
    if not row or not row.write:
        raise InputError(
            f"{path} does not have the suffix of a volume: use a name that ends in .nii.gz"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another output or remove it first")
    if not np.isfinite(volume.array).all():
        raise InputError(f"{path} is not written: the volume holds voxels that are not finite")
    if volume.unit == "HU":
        stored = rounded_hu(volume.array)
    else:
        stored = np.asarray(volume.array).astype("u1" if volume.unit == "mask" else "f4")
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        spaces = [volume.space] if row.space else []
        row.write(partial, stored, volume.affine, *spaces)
    return path
