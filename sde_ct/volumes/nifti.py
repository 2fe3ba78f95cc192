"""NIfTI files, whose headers may give a volume's place twice, once or not at all."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.corners import corners_apart
from sde_ct.volumes.quiet import quiet

SUFFIXES = (".nii", ".nii.gz")
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


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
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
    if not is_one_place(header):
        apart = corners_apart(sform, qform, header.get_data_shape())
        raise InputError(
            f"{path} lies in two places, up to {apart:.3g} apart, by its sform and its qform: "
            "write the right one to both"
        )


def is_one_place(header: Any) -> bool:
    """Whether sform and qform put every voxel within one of each other."""
    sform, qform = header.get_sform(), header.get_qform()
    apart = corners_apart(sform, qform, header.get_data_shape())
    return bool(apart <= np.linalg.norm(sform[:3, :3], axis=0).max())
