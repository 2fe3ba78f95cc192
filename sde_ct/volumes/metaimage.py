"""MetaImage files (.mha, .mhd), read by SimpleITK once their header has been checked.

SimpleITK alone is not enough: MetaIO assumes defaults for missing fields, reads "1;5" as a number,
accepts data of another length and ignores the checksum. This module refuses all such files.
"""

import math
import re
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.lps import itk_image, swap_lps_ras
from sde_ct.volumes.volume import GRID_TOLERANCE

BYTES = {
    **{"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4},
    **{"MET_UINT": 4, "MET_FLOAT": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_DOUBLE": 8},
    **{"MET_LONG": 4, "MET_ULONG": 4},  # four bytes in this format on every machine
}
# The fields that place voxels in the patient: their names, and how many numbers they hold.
PLACE = {
    ("Offset", "Position", "Origin"): 3,
    ("TransformMatrix", "Rotation", "Orientation"): 9,
    ("ElementSpacing",): 3,
}
# For the other fields: the values that describe plain voxels in mm, and the advice otherwise.
PLAIN = {
    "NDims": ("3", "give one 3D volume"),
    "ElementNumberOfChannels": ("1", "give plain grey values"),
    "ElementType": ("|".join(BYTES), "give plain grey values"),
    "DistanceUnits": (r"mm|\?", "write it in mm"),
    "ElementToIntensityFunctionSlope": (r"1(\.0*)?", "write the scaled values"),
    "ElementToIntensityFunctionOffset": (r"0(\.0*)?", "write the scaled values"),
    "BinaryData": ("True", "export it as plain binary data"),
    "HeaderSize": ("0", "export it as plain binary data"),
}
HEADER_BYTES = 65536


def read_metaimage(path: Path) -> tuple[Shaped[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """The voxels and the affine to RAS mm.

    Raises InputError if the file is damaged or cut short, or if its header lacks the position or
    describes anything but a 3D volume of plain grey values in mm.
    """
    import SimpleITK as sitk

    with decoding(path, "MetaImage"):
        fields, start = _header(path)
        _require_plain(fields, path)
        header, source = _beside(fields, path)
        _require_length(fields, path, source.read_bytes()[start if source == header else 0 :])
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        # ITK writes to the terminal without Python's streams.
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            image = sitk.ReadImage(str(header), imageIO="MetaImageIO")
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
    direction = np.reshape(image.GetDirection(), (3, 3))
    if not np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=100 * GRID_TOLERANCE):
        raise InputError(
            f"{path} has a TransformMatrix that is not a rotation: export it again with its "
            "geometry"
        )
    affine = nib.affines.from_matvec(direction * image.GetSpacing(), image.GetOrigin())
    return sitk.GetArrayFromImage(image).T, swap_lps_ras(affine)


def write_metaimage(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an uncompressed `.mha` file, which dose engines read. Raises InputError for `.mhd`."""
    import SimpleITK as sitk

    if path.suffix.lower() != ".mha":
        raise InputError("MetaImage is written as one file: use a name that ends in .mha")
    sitk.WriteImage(itk_image(array, affine), str(path), useCompression=False)


def files_of(path: Path) -> list[Path]:
    """The file of the header and, if it is another, that of the voxels.

    Raises InputError if the header is damaged or the file of the voxels is missing.
    """
    with decoding(path, "MetaImage"):
        return list(dict.fromkeys(_beside(_header(path)[0], path)))


def header_text(path: Path) -> str:
    """The header as text, in which converters may leave names."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES).partition(b"ElementDataFile")[0].decode("latin-1")


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields, and the length of the header in bytes. Raises ValueError if there is none."""
    with path.open("rb") as file:
        match = re.match(
            rb"([^\n=]+=[^\n]*\n)*?ElementDataFile *=[^\n]*\n", file.read(HEADER_BYTES)
        )
    if not match:
        raise ValueError("no header")
    try:
        text = match[0].decode("utf-8")
    except UnicodeDecodeError:
        text = match[0].decode("latin-1")  # older programs write this encoding
    pairs = (line.split("=", 1) for line in text.splitlines())
    return {name.strip(): value.strip() for name, value in pairs}, match.end()


def _require_plain(fields: dict[str, str], path: Path) -> None:
    """Refuse a header that lacks a field, or describes anything but plain voxels in mm."""
    lacking = [names[0] for names in PLACE if not fields.keys() & names]
    lacking += [name for name in ("NDims", "DimSize", "ElementType") if name not in fields]
    if fields.get("CompressedData") == "True" and "CompressedDataSize" not in fields:
        lacking.append("CompressedDataSize")
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}: export it again with its geometry")
    for name, (plain, correction) in PLAIN.items():
        if name in fields and not re.fullmatch(plain, fields[name]):
            raise InputError(f"{path} has {name} = {fields[name]}: {correction}")
    for names, count in PLACE.items():
        for name in fields.keys() & names:
            numbers = [float(v) for v in fields[name].split()]
            if len(numbers) != count or not all(map(math.isfinite, numbers)):
                raise ValueError(name)


def _beside(fields: dict[str, str], path: Path) -> tuple[Path, Path]:
    """The files of header and voxels.

    The voxels are sought beside the header and, if the header is a link, beside its target.
    """
    name = fields["ElementDataFile"]
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"{path} gives its voxels by an absolute path or with '..': name a file in its folder"
        )
    if name.upper() == "LOCAL":
        return path, path
    for header in (path, path.resolve()):
        if (header.parent / name).is_file():
            return header, header.parent / name
    raise InputError(f"{path} needs its voxels, {name!r}, in the same folder: copy them there")


def _require_length(fields: dict[str, str], path: Path, data: bytes) -> None:
    """Refuse data with fewer or more voxels than the header says."""
    shape = [int(n) for n in fields["DimSize"].split()]
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError("DimSize")
    expected, length = math.prod(shape) * BYTES[fields["ElementType"]], len(data)
    if fields.get("CompressedData", "False") == "True":
        if length != int(fields["CompressedDataSize"]):
            raise ValueError("CompressedDataSize")
        stream = zlib.decompressobj()
        length = len(stream.decompress(data, expected + 1))  # one more byte reveals any excess
        if length == expected and not stream.eof:
            raise ValueError("the checksum is cut off")
    if length != expected:
        raise InputError(
            f"{path} holds {length} bytes of voxels, not {expected}, or is damaged: copy it again"
        )
