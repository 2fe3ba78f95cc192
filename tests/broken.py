"""Inputs that are broken, one patient each: how to make it, and what its refusal must say.

NIfTI and MetaImage files and folders of DICOM slices, each sound but for one fault. The readers'
own tests hold most; those beside them here are faults of a whole patient, or of the place where
files lie.
"""

import gzip
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRBigEndian

from .volumes import test_files, test_metaimage
from .volumes.dicom import test_frames
from .volumes.dicom import test_series as test_dicom
from .volumes.dicom_series import edit, voxels, write_series


class Broken(NamedTuple):
    make: Callable[[Path], object]  # fills an empty folder, the patient's
    sentence: str  # what the refusal must match


def table() -> dict[str, Broken]:
    """Every broken input by its name."""
    found = {}
    for name, (make, unit, sentence) in test_files.BAD.items():
        kind = {"HU": "ct", "a.u.": "mr", "mask": "mask"}[unit]
        found[f"nifti {name}"] = Broken(partial(nifti, kind, make), sentence)
    for name, (spoil, sentence) in test_metaimage.BAD.items():
        found[f"metaimage {name}"] = Broken(partial(metaimage, spoil), sentence)
    for name, (spoil, sentence) in test_dicom.BAD.items():
        found[f"dicom {name}"] = Broken(partial(dicom, spoil), sentence)
    for name, (kind, make, sentence) in NIFTI.items():
        found[f"nifti {name}"] = Broken(partial(nifti, kind, make), sentence)
    for name, (spoil, sentence) in METAIMAGE.items():
        found[f"metaimage {name}"] = Broken(partial(metaimage, spoil), sentence)
    for name, (spoil, sentence) in DICOM.items():
        found[f"dicom {name}"] = Broken(partial(dicom, spoil), sentence)
    for name, (spoil, sentence) in test_frames.BAD.items():
        found[f"enhanced {name}"] = Broken(partial(dicom, spoil), sentence)
    for name, (make, sentence) in PATIENT.items():
        found[f"patient {name}"] = Broken(make, sentence)
    for name in ("nifti missing", "metaimage missing", "dicom empty", "dicom parent"):
        found[name] = found[name]._replace(sentence="holds no (MR|CT) that matches")
    return found


def sound(folder: Path, *kinds: str) -> None:
    for kind in kinds or ("mr", "ct"):
        array = {"mr": test_files.CT + 1024, "ct": test_files.CT, "mask": test_files.CT > 0}[kind]
        test_files.save(folder / f"{kind}.nii.gz", array.astype(np.int16))


def nifti(kind: str, make: Callable[[Path], object], folder: Path) -> None:
    sound(folder, *{"mr", "ct"} - {kind})
    make(folder / f"{kind}.nii.gz")


def metaimage(spoil: Callable[[Path], object], folder: Path) -> None:
    sound(folder, "mr")
    spoil(test_metaimage.save(folder / "ct.mha"))


def dicom(spoil: Callable[[Path], object], folder: Path) -> None:
    sound(folder, "ct")
    spoil(write_series(folder / "mr", test_dicom.MR))


def in_header(offset: int, code: str, *values: float, kind: str = "ct") -> Callable[[Path], None]:
    """A sound file with a field of its header overwritten."""

    def make(path: Path) -> None:
        test_files.save(path, test_files.CT + (1024 if kind == "mr" else 0))
        data = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(f"<{code}", data, offset, *values)
        path.write_bytes(gzip.compress(bytes(data)))

    return make


def mirrored(path: Path) -> None:
    affine = np.diag([-2.0, 2, 3, 1])
    image = nib.Nifti1Image(test_files.CT, affine)
    image.set_qform(np.diag([2.0, 2, 3, 1]), code="scanner")
    nib.save(image, path)


def no_size(path: Path) -> None:
    """The qform alone gives the place, and the size of a voxel is 0."""
    image = nib.Nifti1Image(test_files.CT + 1024, None)
    image.set_qform(np.eye(4), code="scanner")
    nib.save(image, path)
    data = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3f", data, 80, 0, 0, 0)
    path.write_bytes(gzip.compress(bytes(data)))


def swapped(path: Path) -> None:
    """The header says little endian, the voxels are not."""
    test_files.save(path, test_files.CT.byteswap())


NIFTI = {
    "no place": ("mr", in_header(252, "2h", 0, 0), "sform_code and qform_code are 0"),
    "no size of voxels": ("mr", no_size, "has voxels of 0 mm: correct spacing and unit"),
    "no magic": ("mr", in_header(344, "4s", b"", kind="mr"), "damaged"),
    "mirrored": ("ct", mirrored, "has an sform that mirrors its qform"),
    "byte order": ("ct", swapped, "above 4000, as in an MR or in a file with a wrong byte order"),
    "byte order of the header": (
        "mr",
        in_header(40, "8h", *(n << 8 for n in (3, 6, 5, 4, 1, 1, 1, 1))),
        "damaged",
    ),
    "no voxels": ("mr", in_header(42, "h", 0), "shape|damaged"),
    "negative size": ("mr", in_header(42, "h", -5), "shape|damaged"),
    "huge": ("mr", in_header(40, "4h", 3, 32000, 32000, 32000), "damaged"),
    "unknown type": ("mr", in_header(70, "h", 9999), "damaged"),
    "text after the header": ("mr", in_header(108, "f", 1e9), "damaged"),
    "5D": ("mr", lambda p: test_files.save(p, np.zeros((4, 4, 4, 1, 3))), "one 3D volume"),
    "complex": ("mr", lambda p: test_files.save(p, np.zeros((4, 4, 4), "c8")), "grey values"),
    "metres": (
        "mr",
        lambda p: test_files.save(p, test_files.CT, unit="meter"),
        "correct spacing and unit",
    ),
    "microns": (
        "mr",
        lambda p: test_files.save(p, test_files.CT, unit="micron"),
        "correct spacing and unit",
    ),
    "infinite intercept": ("ct", in_header(112, "2f", 1, np.inf), "damaged|finite"),
    "huge intercept": ("ct", in_header(112, "2f", 1, 1e30), "not in HU|damaged"),
    "NaN in the affine": ("ct", in_header(280, "f", np.nan), "singular affine|damaged"),
    "compressed twice": (
        "mr",
        lambda p: (sound(p.parent, "mr"), p.write_bytes(gzip.compress(p.read_bytes()))),
        "damaged",
    ),
    "raw under the name": ("mr", lambda p: p.write_bytes(test_files.CT.tobytes()), "damaged"),
    "air only": (
        "ct",
        lambda p: test_files.save(p, np.full_like(test_files.CT, -1000)),
        "every voxel is the same",
    ),
    "empty mask": (
        "mask",
        lambda p: test_files.save(p, np.zeros_like(test_files.CT)),
        "empty body mask",
    ),
    "full mask": (
        "mask",
        lambda p: test_files.save(p, np.ones_like(test_files.CT)),
        "marks every voxel",
    ),
    "labels": (
        "mask",
        lambda p: test_files.save(p, np.indices(test_files.CT.shape).sum(0).astype("i2")),
        "more than two values",
    ),
    "mask beside": (
        "mask",
        lambda p: test_files.save(p, np.eye(3, dtype=np.uint8)[..., None] * np.ones(3, np.uint8)),
        "different grids",
    ),
}
METAIMAGE = {
    "unknown type": (
        lambda p: test_metaimage.header(p, r"^ElementType.*$", "ElementType = MET_OTHER"),
        "ElementType = MET_OTHER: give plain grey values",
    ),
    "two sizes": (
        lambda p: test_metaimage.header(p, r"^DimSize.*$", "DimSize = 12 10"),
        "damaged or not MetaImage",
    ),
    "UTF-16": (
        lambda p: p.write_bytes(p.read_bytes().decode("latin1").encode("utf-16")),
        "damaged or not MetaImage",
    ),
    "long header": (
        lambda p: test_metaimage.header(p, "^NDims", "HeaderSize = 100\nNDims"),
        "HeaderSize = 100: export it as plain binary data",
    ),
    "byte order": (
        lambda p: (
            test_metaimage.save(p, compress=False),
            test_metaimage.header(p, "ByteOrderMSB = False", "ByteOrderMSB = True"),
        ),
        "above 4000, as in an MR or in a file with a wrong byte order",
    ),
    "text voxels": (
        lambda p: (
            test_metaimage.save(p, compress=False),
            test_metaimage.header(p, "^BinaryData = True", "BinaryData = False"),
        ),
        "export it as plain binary data",
    ),
    "voxels elsewhere": (lambda p: renamed(p, "../../secret.raw"), "path or with '..': name"),
    "voxels anywhere": (lambda p: renamed(p, "/etc/passwd"), "by an absolute path or"),
    "a list of slices": (lambda p: renamed(p, "LIST"), "needs its voxels"),
    "spacing in metres": (
        lambda p: test_metaimage.header(
            p, r"^ElementSpacing.*$", "ElementSpacing = 1e-3 1e-3 3e-3"
        ),
        "correct spacing and unit",
    ),
    "huge spacing": (
        lambda p: test_metaimage.header(p, r"^ElementSpacing.*$", "ElementSpacing = 800 1250 3000"),
        "correct spacing and unit",
    ),
    "infinite place": (
        lambda p: test_metaimage.header(p, r"^Offset.*$", "Offset = inf 0 0"),
        "damaged or not MetaImage",
    ),
}


def renamed(path: Path, voxels: str) -> None:
    head = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")[0]
    path.write_bytes(head + f"ElementDataFile = {voxels}\n".encode())


def big_endian(folder: Path) -> None:
    """The file claims the other byte order than its tags are in."""
    path = folder / "IM004.dcm"
    data = path.read_bytes()
    there = b"1.2.840.10008.1.2.1\x00"
    assert there in data
    path.write_bytes(data.replace(there, str(ExplicitVRBigEndian).encode() + b"\x00"))


def structures_only(folder: Path) -> None:
    for path in folder.iterdir():
        edit(path, Modality="RTSTRUCT")


def damaged_structures(folder: Path) -> None:
    """A file of contours beside the images that ends in its middle."""
    path = folder / "RS.dcm"
    edit(shutil.copy(folder / "IM001.dcm", path), Modality="RTSTRUCT")
    path.write_bytes(path.read_bytes()[:200])


def eight_bits(folder: Path) -> None:
    edit(folder / "IM004.dcm", BitsAllocated=8, BitsStored=8, HighBit=7)


def scout(folder: Path) -> None:
    """Three planes in one series, as localizers have them."""
    planes = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]
    for number, path in enumerate(sorted(folder.iterdir())):
        edit(path, ImageOrientationPatient=planes[number % 3])


DICOM = {
    "inverted grey": (
        lambda f: edit(f / "IM004.dcm", PhotometricInterpretation="MONOCHROME1"),
        "IM004.dcm holds MONOCHROME1 pixels",
    ),
    "PET": (lambda f: [edit(p, Modality="PT") for p in f.iterdir()], "holds a series of PT"),
    "scout": (scout, "have different orientations: take localizers"),
    "every slice in one place": (
        lambda f: [edit(p, ImagePositionPatient=[0, 0, 0]) for p in f.iterdir()],
        "6 duplicated slices",
    ),
    "spacing below 0": (
        lambda f: [edit(p, PixelSpacing=[-1, 1]) for p in f.iterdir()],
        "impossible PixelSpacing",
    ),
    "no axes": (
        lambda f: [edit(p, ImageOrientationPatient=[0] * 6) for p in f.iterdir()],
        "not perpendicular unit vectors",
    ),
    "no photometric": (
        lambda f: edit(f / "IM004.dcm", PhotometricInterpretation=None),
        "IM004.dcm is damaged",
    ),
    "gzipped": (
        lambda f: [
            (f / f"{p.name}.gz").write_bytes(gzip.compress(p.read_bytes())) and p.unlink()
            for p in [*f.iterdir()]
        ],
        "holds no DICOM image",
    ),
    "byte order": (big_endian, "IM004.dcm (is damaged|lacks)"),
    "structures only": (structures_only, "holds no DICOM image"),
    "damaged structures": (damaged_structures, "RS.dcm (is damaged|lacks)"),
    "no rows": (lambda f: edit(f / "IM004.dcm", Rows=0), "IM004.dcm|differ in size"),
    "no size": (lambda f: edit(f / "IM004.dcm", Columns=None), "lacks Columns"),
    "no identity": (lambda f: edit(f / "IM004.dcm", SOPInstanceUID=None), "lacks SOPInstanceUID"),
    "8 bits": (eight_bits, "IM004.dcm is damaged"),
    "NaN slope": (
        lambda f: [edit(p, RescaleSlope="NaN", RescaleIntercept=0) for p in f.iterdir()],
        "damaged|not finite",
    ),
    "far away": (
        lambda f: edit(f / "IM004.dcm", ImagePositionPatient=[0, 0, 1e9]),
        "impossible ImagePosition",
    ),
    "mirrored slice": (
        lambda f: edit(f / "IM004.dcm", ImageOrientationPatient=[-1, 0, 0, 0, 1, 0]),
        "different orientations",
    ),
    "huge voxels": (
        lambda f: [edit(p, PixelSpacing=[500, 500]) for p in f.iterdir()],
        "correct spacing and unit",
    ),
    "other study under the name": (
        lambda f: edit(f / "IM004.dcm", PatientName="Miller^Max"),
        "images of 2 patients",
    ),
    "enhanced": (
        lambda f: edit(f / "IM004.dcm", SharedFunctionalGroupsSequence=[pydicom.Dataset()]),
        "is an enhanced image: export it with one file per slice",
    ),
}


def loop(folder: Path) -> None:
    sound(folder, "ct")
    (folder / "mr.nii.gz").symlink_to(folder / "mr.nii.gz")


def looped_folder(folder: Path) -> None:
    sound(folder, "ct")
    (folder / "mr").mkdir()
    (folder / "mr" / "deeper").symlink_to(folder / "mr")


def dangling(folder: Path) -> None:
    sound(folder, "mr")
    (folder / "ct.nii.gz").symlink_to(folder / "gone.nii.gz")


def twice(folder: Path) -> None:
    sound(folder)
    shutil.copy(folder / "ct.nii.gz", folder / "ct2.nii.gz")


def other_grids(folder: Path) -> None:
    sound(folder, "ct")
    test_files.save(folder / "mr.nii.gz", test_files.CT + 1024, test_files.OBLIQUE * 1.01)


def turned_elsewhere(folder: Path) -> None:
    """The rows are stored the other way round, which is no fault, and lie 5 mm elsewhere."""
    sound(folder, "ct")
    affine = test_files.OBLIQUE @ np.diag([1.0, -1, 1, 1])
    affine[:3, 3] += test_files.OBLIQUE[:3, 1] * (test_files.CT.shape[1] - 1) + [0, 0, 5]
    test_files.save(folder / "mr.nii.gz", (test_files.CT + 1024)[:, ::-1], affine)


def spaces(folder: Path) -> None:
    """Names of any letters are no fault; the damage is named by them."""
    sound(folder, "ct")
    (folder / "mr Ödem № 2 %s {x}.nii.gz").write_bytes(b"")


def same_file(folder: Path) -> None:
    """One volume as MR and CT."""
    sound(folder, "ct")
    (folder / "mr.nii.gz").symlink_to(folder / "ct.nii.gz")


def flat(folder: Path, *prefixes: str) -> None:
    """The slices of an MR beside those of a CT, and of further MRs."""
    write_series(folder, test_dicom.MR, prefix="mr")
    write_series(folder, voxels(), modality="CT", number=2, prefix="ct")
    for number, prefix in enumerate(prefixes, start=3):
        write_series(folder, test_dicom.MR, number=number, prefix=prefix)


PATIENT = {
    "two flat series": (
        lambda f: flat(f, "mr_b"),
        r"holds 2 series that match 'mr\*' \(.*give a pattern of one of them, or one file, as --mr",
    ),
    "flat, damaged": (
        lambda f: (flat(f), (f / "mr003.dcm").write_bytes(b"")),
        "mr003.dcm is damaged",
    ),
    "flat, one missing": (lambda f: (flat(f), (f / "mr004.dcm").unlink()), "lacks a slice"),
    "flat, beside a volume": (lambda f: (flat(f), sound(f, "mr")), "all match 'mr\\*'"),
    "loop": (loop, "has no MR|holds no MR|symbolic links"),
    "loop of folders": (looped_folder, "holds no MR that matches"),
    "dangling link": (dangling, "no CT"),
    "two CTs": (twice, "ct.nii.gz, ct2.nii.gz all match"),
    "other grid": (other_grids, "different grids"),
    "other order elsewhere": (turned_elsewhere, r"different grids \(corners 5 mm apart"),
    "names of any letters": (spaces, r"mr Ödem № 2 %s \{x\}.nii.gz is damaged"),
    "no CT": (lambda f: sound(f, "mr"), "no CT"),
    "no MR": (lambda f: sound(f, "ct"), "no MR"),
}
