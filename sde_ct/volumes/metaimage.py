"""MetaImage files (.mha, .mhd), read by SimpleITK once their header has been checked.

MetaIO fills in what a header lacks, and reads on where the voxels do not fit it: what it would
have to guess is refused here.
"""

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import GRID_TOLERANCE

SUFFIXES = (".mha", ".mhd")
BYTES = {
    **{"MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4},
    **{"MET_UINT": 4, "MET_FLOAT": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_DOUBLE": 8},
    **{"MET_LONG": 4, "MET_ULONG": 4},  # four bytes in the format, whatever the machine
}
# Without one of each the voxels have no place in the patient; so many numbers each.
PLACE = {
    ("Offset", "Position", "Origin"): 3,
    ("TransformMatrix", "Rotation", "Orientation"): 9,
    ("ElementSpacing",): 3,
}
UNSCALED = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}
HEADER_BYTES = 65536


def read_metaimage(
    path: Path,
) -> tuple[Shaped[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """Voxels and the affine that takes their indices to RAS mm.

    Raises InputError where the file is damaged, cut short, colour, not 3D, or its header says
    nothing of its place.
    """
    with _decoding(path):
        fields, start = _header(path)
        _require_fields(fields, path)
        header, source = _beside(fields, path)
        _require_voxels(fields, path, source, start if source == header else 0)
        image = _read_quietly(header)
    direction = np.reshape(image.GetDirection(), (3, 3))
    if not np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=100 * GRID_TOLERANCE):
        raise InputError(
            f"{path} has a TransformMatrix that is no rotation: export it again with its geometry"
        )
    affine = np.eye(4)
    affine[:3, :3] = direction * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).T, swap_lps_ras(affine)


def files_of(path: Path) -> list[Path]:
    """The header's file and, where it is another, that of the voxels. InputError as for reading."""
    with _decoding(path):
        header, source = _beside(_header(path)[0], path)
    return [header] if source == header else [header, source]


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: check its permissions") from error
    except (OSError, ValueError, KeyError, RuntimeError, zlib.error, MemoryError) as error:
        raise InputError(f"{path} is damaged or not MetaImage: copy or export it again") from error


def _read_quietly(path: Path) -> sitk.Image:
    """ITK's warnings go to the screen past Python; what matters of them is an error here."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        return sitk.ReadImage(str(path), imageIO="MetaImageIO")
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields up to ElementDataFile, and where the header ends."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    fields: dict[str, str] = {}
    start = 0
    while "ElementDataFile" not in fields:
        end = head.index(b"\n", start)  # ValueError where there is no such field
        name, value = _text(head[start:end]).split("=", 1)
        fields[name.strip()] = value.strip()
        start = end + 1
    return fields, start


def _text(line: bytes) -> str:
    """Names of files and comments may hold any letters, in the encoding of their writer."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _require_fields(fields: dict[str, str], path: Path) -> None:
    lacking = [names[0] for names in PLACE if not any(name in fields for name in names)]
    lacking += [name for name in ("NDims", "DimSize", "ElementType") if name not in fields]
    if fields.get("CompressedData") == "True" and "CompressedDataSize" not in fields:
        lacking.append("CompressedDataSize")
    if lacking:
        raise InputError(f"{path} lacks {', '.join(lacking)}: export it again with its geometry")
    if fields["NDims"] != "3":
        raise InputError(f"{path} has {fields['NDims']} dimensions: give one 3D volume")
    if fields.get("ElementNumberOfChannels", "1") != "1" or fields["ElementType"] not in BYTES:
        raise InputError(f"{path} holds {fields['ElementType']} voxels: give plain grey values")
    if (unit := fields.get("DistanceUnits", "mm")) not in ("mm", "?"):
        raise InputError(f"{path} has DistanceUnits of {unit}: write it in mm")
    for name, plain in UNSCALED.items():
        if float(fields.get(name, plain)) != plain:
            raise InputError(f"{path} has {name} = {fields[name]}: write the scaled values")
    for names, count in PLACE.items():
        for name in names:
            # MetaIO takes what begins as a number for one.
            if name not in fields:
                continue
            numbers = [float(v) for v in fields[name].split()]
            if len(numbers) != count or not all(map(math.isfinite, numbers)):
                raise ValueError(name)


def _beside(fields: dict[str, str], path: Path) -> tuple[Path, Path]:
    """The header, or what it is a link to, and the file of its voxels, which lies beside it."""
    name = fields["ElementDataFile"]
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{path} names voxels outside its folder: keep both files in one folder")
    if name in ("LOCAL", "Local", "local"):
        return path, path
    for header in (path, path.resolve()):
        if (header.parent / name).is_file():
            return header, header.parent / name
    raise InputError(f"{path} names its voxels {name!r}, which is no file beside it: add it")


def _require_voxels(fields: dict[str, str], path: Path, source: Path, start: int) -> None:
    """The data are there, whole, and as many as the header says."""
    if fields.get("BinaryData", "True") != "True" or int(fields.get("HeaderSize", "0")):
        raise InputError(f"{path} holds voxels in an unusual form: export it as plain binary data")
    shape = [int(n) for n in fields["DimSize"].split()]
    expected = math.prod(shape) * BYTES[fields["ElementType"]]
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError("DimSize")
    with source.open("rb") as file:
        file.seek(start)
        data = file.read()
    found = len(data)
    if fields.get("CompressedData", "False") == "True":
        if found != int(fields["CompressedDataSize"]):
            raise ValueError("CompressedDataSize")
        found = _uncompressed_length(data, expected)
    if found != expected:
        raise InputError(
            f"{path} holds {found} bytes of voxels, not {expected}, or is damaged: copy it again"
        )


def _uncompressed_length(data: bytes, expected: int) -> int:
    """MetaIO does not look at zlib's checksum, this does; `expected` + 1 stands for any excess."""
    stream = zlib.decompressobj()
    length = len(stream.decompress(data, expected + 1))
    if length == expected and not stream.eof:
        raise zlib.error("the checksum is cut off")
    return length
