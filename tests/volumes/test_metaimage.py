"""MetaImage files as they should be, and every way in which they are not."""

import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume

from .fuzz import MUTATIONS, count_refused

SHAPE = (12, 10, 7)
SPACING, ORIGIN = (0.8, 1.25, 3.0), (-31.5, 12.25, -140.125)  # LPS mm
C, S = np.cos(0.4), np.sin(0.4)
DIRECTION = np.array([[C, -S, 0], [S, C, 0], [0, 0, -1]])
CT = np.random.default_rng(0).integers(-1024, 1500, SHAPE).astype(np.int16)
BODY = np.where(CT < 0, -1000, 40).astype(np.int16)  # air and soft tissue


def save(path, array=CT, *, compress=True, vector=False):
    path.parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T), isVector=vector)
    if image.GetDimension() == 3:
        image.SetSpacing(SPACING)
        image.SetOrigin(ORIGIN)
        image.SetDirection(DIRECTION.ravel())
    sitk.WriteImage(image, str(path), useCompression=compress)
    return path


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["ct.mha", "ct.mhd", "Ödem 2.MHA"])
def test_voxels_and_place_are_those_of_itk(tmp_path, name, compress):
    path = save(tmp_path / f"ct{name[-4:].lower()}", compress=compress).rename(tmp_path / name)
    volume = read_volume(path, "HU")
    np.testing.assert_array_equal(volume.array, CT)
    assert volume.array.dtype == np.float32
    index = [9, 2, 5]
    image = sitk.ReadImage(str(path), imageIO="MetaImageIO")
    x, y, z = image.TransformIndexToPhysicalPoint(index)
    # ITK's LPS against RAS; the header holds some fifteen digits.
    np.testing.assert_allclose((volume.affine @ [*index, 1])[:3], [-x, -y, z], atol=1e-9)
    np.testing.assert_allclose(volume.spacing, SPACING, atol=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "i8", "f4", "f8"])
def test_all_types_of_grey_values(tmp_path, dtype):
    array = (CT % 100).astype(dtype)
    volume = read_volume(save(tmp_path / "mr.mha", array), "a.u.")
    np.testing.assert_array_equal(volume.array, array)


def header(path, pattern, text):
    """Change the header of a file in which the voxels follow it."""
    head, mark, data = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
    changed = re.sub(pattern, text, head.decode(), flags=re.MULTILINE)
    assert changed != head.decode()
    path.write_bytes(changed.encode() + mark + data)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_comment_may_hold_any_letters(tmp_path, encoding):
    path = save(tmp_path / "ct.mha")
    head = b"ObjectType = Image\n"
    comment = head + "Comment = Prüfung\n".encode(encoding)
    path.write_bytes(path.read_bytes().replace(head, comment))
    np.testing.assert_array_equal(read_volume(path, "HU").array, CT)


@pytest.mark.parametrize("folder", [".", "voxels"])
def test_a_linked_header_finds_its_voxels(tmp_path, folder):
    """Beside the link, or beside what it leads to, and there in a subfolder too."""
    path = save(tmp_path / "there" / "ct.mhd", compress=False)
    (path.parent / folder).mkdir(exist_ok=True)
    (path.parent / "ct.raw").rename(path.parent / folder / "ct.raw")
    path.write_text(path.read_text().replace("= ct.raw", f"= {folder}/ct.raw"))
    link = tmp_path / "here" / "mr.mhd"
    link.parent.mkdir()
    link.symlink_to(path)
    np.testing.assert_array_equal(read_volume(link, "HU").array, CT)
    shutil.copytree(path.parent / folder, link.parent / folder, dirs_exist_ok=True)
    (path.parent / folder / "ct.raw").unlink()
    np.testing.assert_array_equal(read_volume(link, "HU").array, CT)


def damage(path):
    data = bytearray(path.read_bytes())
    data[-200:-180] = bytes(20)
    path.write_bytes(bytes(data))


def truncate(path, cut=40):
    path.write_bytes(path.read_bytes()[:-cut])


def detach(path):
    """A header whose voxels were not copied with it."""
    head = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")[0]
    path.write_bytes(head + b"ElementDataFile = ct.raw\n")


def uncompressed(then):
    def spoil(path):
        save(path, compress=False)
        then(path)

    return spoil


BAD = {
    "missing": (lambda p: p.unlink(), "does not exist"),
    "empty": (lambda p: p.write_bytes(b""), "damaged or not MetaImage"),
    "text": (lambda p: p.write_text("no image"), "damaged or not MetaImage"),
    "header only": (lambda p: p.write_bytes(p.read_bytes()[:120]), "damaged or not MetaImage"),
    "truncated": (truncate, "damaged"),
    "truncated by its checksum": (lambda p: truncate(p, 2), "damaged"),
    "truncated raw": (uncompressed(truncate), "holds 1640 bytes of voxels, not 1680"),
    "no number": (
        lambda p: header(p, r"^Offset.*$", "Offset = -31.5 12;25 -140.125"), "damaged or not"
    ),
    "no length": (lambda p: header(p, r"^CompressedDataSize.*\n", ""), "lacks CompressedDataSize"),
    "partly used": (
        lambda p: header(p, r"^CompressedDataSize.*$", "CompressedDataSize = 900"), "damaged"
    ),
    "corrupt": (damage, "damaged"),
    "too long": (uncompressed(lambda p: p.write_bytes(p.read_bytes() + b"00")), "bytes of voxels"),
    "detached": (detach, "needs its voxels, 'ct.raw', in the same folder"),
    "2D": (lambda p: save(p, CT[..., 0]), "NDims = 2: give one 3D volume"),
    "4D": (lambda p: save(p, np.stack([CT, CT], -1)), "NDims = 4: give one 3D volume"),
    "colour": (lambda p: save(p, CT.reshape(2, 6, 10, 7), vector=True), "plain grey values"),
    "no place": (lambda p: header(p, r"^Offset.*\n", ""), "lacks Offset: export it again"),
    "no direction": (lambda p: header(p, r"^TransformM.*\n", ""), "lacks TransformMatrix"),
    "no spacing": (lambda p: header(p, r"^ElementSpacing.*\n", ""), "lacks ElementSpacing"),
    "zero spacing": (lambda p: header(p, r"^ElementSpacing.*$", "ElementSpacing = 0 1 1"), "."),
    "sheared": (
        lambda p: header(p, r"^TransformM.*$", "TransformMatrix = 1 0 0 0.5 1 0 0 0 1"),
        "not a rotation",
    ),
    "huge": (lambda p: header(p, r"^DimSize.*$", "DimSize = 90000 90000 90000"), "or is damaged"),
    "not one": (lambda p: header(p, r"^DimSize.*$", "DimSize = 12 10 0"), "damaged"),
    "metres": (
        lambda p: header(p, "^NDims", "DistanceUnits = m\nNDims"), "DistanceUnits = m: write it in"
    ),
    "slope": (
        lambda p: header(p, "^NDims", "ElementToIntensityFunctionSlope = 2\nNDims"),
        "ElementToIntensityFunctionSlope = 2: write the scaled values",
    ),
    "offset": (lambda p: save(p, BODY + 1024), r"HU \+ 1024; subtract"),
    "nan": (
        lambda p: save(p, np.where(CT > 1400, np.nan, CT).astype("f4")), "are not finite: replace"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_unusable_files_are_refused_in_one_sentence(tmp_path, case):
    spoil, sentence = BAD[case]
    path = save(tmp_path / "ct.mha")
    spoil(path)
    with pytest.raises(InputError, match=sentence) as error:
        read_volume(path, "HU")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("compress", [True, False])
def test_changed_bytes_are_refused_or_read(tmp_path, compress):
    """250 damaged files of each kind, half of the changes in the header."""
    path = save(tmp_path / "mr.mha", CT[:6, :5, :3], compress=compress)
    refused = count_refused(path, path, "a.u.", head=400)
    # A header's text allows few other values; voxels have a checksum only where compressed.
    assert MUTATIONS // 4 < refused <= MUTATIONS
