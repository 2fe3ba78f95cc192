"""NIfTI files, whose headers may give a volume's position twice, once or not at all."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.patient_names import TAGS
from sde_ct.volumes.volume import Volume, corners_apart, is_perpendicular

MILLIMETRES = {"meter": 1e3, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
KEPT_SPACES = (2, 3, 4)  # sform codes: the space of another image, of Talairach, and of MNI
ITK_SHEAR = 1e-4  # cosine between axes; ITK 5.4 refuses sforms with a larger value
EXACT_MM = 0.01  # largest error of a qform that ITK may read in place of the sform
SAME_PLACE_MM = 0.1  # largest distance between the positions that sform and qform give a voxel
# Rounding of b² + c² + d² in float32. If it makes a² negative, nibabel reads a as 0.
ROUNDING = 3 * 2.0**-23


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The voxels, scaled as the header says, and the affine to RAS mm.

    Raises InputError if the file is damaged or no NIfTI volume, or if its header gives no position,
    two different positions or no voxel size.
    """
    with decoding(path, "NIfTI"):
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):  # CIFTI files have the same suffix
            raise InputError(f"{path} holds a {type(image).__name__}: give a NIfTI volume")
        if path.name.lower().endswith(".gz"):
            # nibabel does not read the checksum at the end of the file; `decompress` does.
            image = type(image).from_bytes(gzip.decompress(path.read_bytes()))  # type: ignore[attr-defined]
        array = np.asanyarray(image.dataobj)
        scale = MILLIMETRES[image.header.get_xyzt_units()[0]]
        _require_one_place(image.header, scale, path)
        _require_sizes(image.header, path)
    return array, np.diag([scale, scale, scale, 1.0]) @ np.asarray(image.affine, np.float64)


def _require_sizes(header: Any, path: Path) -> None:
    """Raise InputError if only the qform gives the position and a voxel size is 0.

    nibabel reads a size of 0 as 1 mm.
    """
    if header["sform_code"] > 0:
        return
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    with opened(path, "rb") as file:
        stored = type(header)(file.read(header.sizeof_hdr), check=False)
    if not stored["pixdim"][1:4].all():
        raise InputError(f"{path} has voxels of 0 mm: correct spacing and unit in its header")


def space(path: Path) -> int:
    """The sform code of a file if it is one of `KEPT_SPACES`; otherwise 1."""
    with decoding(path, "NIfTI"):
        header: Any = nib.load(path).header
        code = int(header["sform_code"])
    return code if code in KEPT_SPACES else 1


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, space: int = 1) -> None:
    """Write a file in mm with an sform, and with a qform if a qform can hold the affine."""
    nib.save(_image(array, affine, space), path)


def place_notes(volume: Volume) -> list[str]:
    """Notes for the user on how NIfTI files give the position of a volume."""
    nothing = np.broadcast_to(np.uint8(0), volume.array.shape)
    if _image(nothing, volume.affine, volume.space).header["qform_code"] > 0:
        return []
    note = (
        "The NIfTI files give their position by the sform alone (qform_code 0), because a qform "
        "cannot hold it exactly"
    )
    if is_perpendicular(volume.affine, ITK_SHEAR):
        return [f"{note}."]
    return [
        f"{note}: ITK and the programs built on it refuse axes that are not perpendicular, so "
        "resample the MR for these programs and synthesize it again."
    ]


def _image(array: np.ndarray, affine: np.ndarray, space: int) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=space)
    image.set_qform(affine, code=space)
    if space == 1:
        limit = _tolerance(image.header)
    else:  # ITK prefers the qform if there is one
        limit = EXACT_MM if is_perpendicular(affine, ITK_SHEAR) else SAME_PLACE_MM
    if not places_apart(image.header) <= limit:
        image.set_qform(None)  # a qform cannot hold shear and would give another position
    image.header.set_xyzt_units(xyz="mm")
    return image


def header_text(path: Path) -> str:
    """The free text of a header and its extensions, in which converters may leave names."""
    with decoding(path, "NIfTI"):
        header: Any = nib.load(path).header
        keys = ("descrip", "aux_file", "intent_name", "db_name")
        texts = [header[key].item() for key in keys if key in header]
        for extension in header.extensions:
            content = extension.get_content()
            is_dicom = hasattr(content, "group_dataset")  # true for a pydicom data set
            texts += [content.get(tag) or "" for tag in TAGS] if is_dicom else [content]
    return " ".join(t.decode("latin-1") if isinstance(t, bytes) else str(t) for t in texts)


def places_apart(header: Any) -> float:
    """The largest distance between a voxel's sform and qform positions, in the header's unit."""
    return corners_apart(header.get_sform(), header.get_qform(), header.get_data_shape())


def _tolerance(header: Any, scale: float = 1.0) -> float:
    """The allowed distance between a voxel's sform and qform positions, in the header's unit.

    A qform stores b, c and d of a unit quaternion as float32, and a = √(1 - b² - c² - d²). If a is
    almost zero, as in rotations by nearly 180°, this root has an error of up to 8e-4, which moves
    the far corner by half a millimetre.
    """
    square = 1 - sum(float(header[f"quatern_{name}"]) ** 2 for name in "bcd")
    a_error = np.sqrt(max(square + ROUNDING, 0)) - np.sqrt(max(square - ROUNDING, 0))
    shape = np.array(header.get_data_shape()[:3])
    reach = np.linalg.norm(shape * np.linalg.norm(header.get_sform()[:3, : len(shape)], axis=0))
    return SAME_PLACE_MM / scale + 2 * float(a_error * reach)


def _require_one_place(header: Any, scale: float, path: Path) -> None:
    """Refuse headers that give two different positions, or none."""
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise InputError(
            f"{path} does not give its position in the patient (sform_code and qform_code are 0): "
            "convert it again with its geometry"
        )
    if sform is None or qform is None:
        return
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError(
            f"{path} has an sform that mirrors its qform: write the right geometry to both"
        )
    # NaN also fails this comparison.
    if not (apart := places_apart(header)) <= _tolerance(header, scale):
        raise InputError(
            f"{path} has an sform and a qform that lie up to {scale * apart:.3g} mm apart: write "
            "the right geometry to both"
        )
