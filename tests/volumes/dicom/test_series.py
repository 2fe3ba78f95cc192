"""Folders of DICOM slices as they should be, and every way in which they are not."""

import locale
import shutil
import subprocess
import sys

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.files import read_volume

from ..dicom_series import ACQUISITIONS, ORIGIN, SHAPE, SPACING, edit, voxels, write_series

MR = voxels() + 1000


def test_an_axial_series_is_one_volume(tmp_path):
    volume = read_volume(write_series(tmp_path / "t2", MR), "a.u.")
    np.testing.assert_array_equal(volume.array, MR)
    assert volume.array.dtype == np.float32 and volume.unit == "a.u."
    expected = np.diag([*SPACING, 1.0])
    expected[:3, 3] = ORIGIN
    # LPS to RAS: x and y change sign. Tags are decimals of ten digits.
    np.testing.assert_allclose(volume.affine, np.diag([-1, -1, 1, 1]) @ expected, atol=1e-7)


def test_slices_are_ordered_by_their_place_whatever_their_names_and_numbers(tmp_path):
    forth = read_volume(write_series(tmp_path / "a", MR), "a.u.")
    back = read_volume(write_series(tmp_path / "b", MR, backwards=True), "a.u.")
    np.testing.assert_array_equal(forth.array, back.array)
    np.testing.assert_array_equal(forth.affine, back.affine)


def test_positions_rounded_as_scanners_round_them_are_no_gap(tmp_path):
    axes, spacing = ACQUISITIONS["oblique"], (0.8, 1.25, 10 / 3)
    folder = write_series(tmp_path / "t2", MR, axes=axes, spacing=spacing)
    exact = read_volume(folder, "a.u.").affine
    for path in folder.iterdir():
        place = [round(float(v), 2) for v in pydicom.dcmread(path).ImagePositionPatient]
        edit(path, ImagePositionPatient=place)
    # A coordinate is off by 0.005 mm at most, so is the origin; a step by two of them over six.
    np.testing.assert_allclose(read_volume(folder, "a.u.").affine, exact, atol=0.005)


def round_positions(folder, digits=1):
    for path in folder.iterdir():
        place = pydicom.dcmread(path).ImagePositionPatient
        edit(path, ImagePositionPatient=[round(float(v), digits) for v in place])


@pytest.mark.parametrize("axes", ["axial", "oblique"])
def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even(tmp_path, axes):
    """Slices 3.3333 mm apart then lie 3.3 or 3.4 mm apart, and an oblique stack seems tilted."""
    spacing = (0.8, 1.25, 10 / 3)
    folder = write_series(tmp_path / "t2", MR, axes=ACQUISITIONS[axes], spacing=spacing)
    exact = read_volume(folder, "a.u.").affine
    round_positions(folder)
    volume = read_volume(folder, "a.u.")
    np.testing.assert_array_equal(volume.array, MR)
    # A coordinate is off by 0.05 mm at most, so is each end of the stack.
    np.testing.assert_allclose(volume.affine, exact, atol=0.05)
    # No shear: a CT series could not be written on such a grid.
    axes = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-3)


@pytest.mark.parametrize("lost", range(2, 7))
@pytest.mark.parametrize("step", [0.5, 10 / 3])
def test_a_missing_slice_is_no_rounding(tmp_path, lost, step):
    folder = write_series(tmp_path / "t2", MR, spacing=(0.8, 1.25, step))
    round_positions(folder)
    (folder / f"IM00{lost}.dcm").unlink()
    sentence = f"lacks a slice between IM00{lost - 1}.dcm and IM00{lost + 1}"
    with pytest.raises(InputError, match=sentence):
        read_volume(folder, "a.u.")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_give_the_same_volume(tmp_path, syntax):
    folder = write_series(tmp_path / "t2", MR)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(path, image, enforce_file_format=True)
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


def test_each_slice_is_scaled_by_its_own_tags(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    edit(folder / "IM003.dcm", RescaleSlope="0.5", RescaleIntercept="-8")
    array = read_volume(folder, "a.u.").array
    np.testing.assert_array_equal(array[..., 2], MR[..., 2] / 2 - 8)  # halves are exact
    np.testing.assert_array_equal(array[..., 3], MR[..., 3])


def test_signed_values_of_twelve_bits_keep_their_sign(tmp_path):
    """Bits above HighBit mean nothing (PS3.5, 8.1.1); -5 must not become 4091, with 0 or 1 in them.

    plastimatch 1.9.4 and dcm2niix 1.0.20220720 take the word as it is.
    """
    stored = voxels() % 2048 - 1024
    for number, above in enumerate((0x0FFF, 0xFFFF)):
        words = (stored.astype(np.uint16) & np.uint16(above)).astype(np.uint16)
        tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
        folder = write_series(tmp_path / str(number), words, **tags)
        np.testing.assert_array_equal(read_volume(folder, "a.u.").array, stored)


def test_hu_come_from_slope_and_intercept(tmp_path):
    stored = (voxels() + 1024).astype(np.uint16)
    folder = write_series(tmp_path / "ct", stored, modality="CT", RescaleIntercept=-1024)
    np.testing.assert_array_equal(read_volume(folder, "HU").array, voxels())


def test_what_lies_beside_the_slices_is_passed_over(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    write_series(folder, MR[..., :1], number=5, prefix="RS", Modality="RTSTRUCT")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").write_text("no image")
    (folder / "loop").symlink_to(folder / "loop")
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


def test_one_file_stands_for_its_series(tmp_path):
    folder = write_series(tmp_path / "all", MR, prefix="A")
    write_series(folder, MR // 2, number=2, prefix="B")
    with pytest.raises(InputError) as error:
        read_volume(folder, "a.u.")
    sentence = str(error.value)
    assert "holds 2 series: t2 tse 1 (MR, 7 slices, A001.dcm), t2 tse 2" in sentence
    assert "give the file that is named" in sentence
    for name, array in (("A001.dcm", MR), ("B004.dcm", MR // 2)):
        np.testing.assert_array_equal(read_volume(folder / name, "a.u.").array, array)


def own_uids(folder, *keywords):
    """Each file gets UIDs of its own, as some anonymisers write them."""
    for n, path in enumerate(sorted(folder.glob("*.dcm"))):
        edit(path, **{keyword: f"1.2.3.{k}.{n}" for k, keyword in enumerate(keywords)})


UIDS = ("SeriesInstanceUID", "FrameOfReferenceUID")


@pytest.mark.parametrize("keywords", [UIDS[:1], UIDS[1:], UIDS], ids="+".join)
def test_a_series_of_own_uids_is_read_as_one_and_this_is_said(tmp_path, keywords):
    folder = write_series(tmp_path / "t2", MR)
    own_uids(folder, *keywords)
    write_series(tmp_path / "t2", MR // 2, number=2, prefix="OTHER", Modality="RTSTRUCT")
    for path in (folder, folder / "IM004.dcm"):
        np.testing.assert_array_equal(read_volume(path, "a.u.").array, MR)
        warnings = open_series(path).warnings
        assert len(warnings) == len(keywords)
        for keyword, warning in zip(keywords, warnings, strict=True):
            assert f"each of its 7 files has a {keyword} of its own" in warning
    assert open_series(write_series(tmp_path / "sound", MR)).warnings == ()


def test_of_two_series_with_own_uids_one_is_named(tmp_path):
    """Descriptions tell them apart; a file of another kind of pixel disturbs neither."""
    folder = write_series(tmp_path / "t2", MR)
    write_series(folder, MR // 2, number=2, prefix="B")
    write_series(folder, MR, number=3, prefix="C", PhotometricInterpretation="RGB")
    own_uids(folder, "SeriesInstanceUID")
    np.testing.assert_array_equal(read_volume(folder / "B002.dcm", "a.u.").array, MR // 2)
    for path in folder.glob("C*"):
        path.unlink()
    with pytest.raises(InputError, match=r"holds 2 series: t2 tse 2 \(MR, 7 slices"):
        read_volume(folder, "a.u.")


def screenshot(folder, **tags):
    """One picture of a screen, without a place in the patient."""
    shown = write_series(folder, MR[..., :1], number=9, prefix="SC", SOPClassUID=CAPTURE)
    place = dict.fromkeys(("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
    edit(shown / "SC001.dcm", **place, **tags)


CAPTURE, SPECTRUM = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.4.2"
BESIDE = {
    "screenshot": lambda f: screenshot(f, Modality="OT"),
    "dose report": lambda f: screenshot(f, Modality="MR"),
    "spectrum": lambda f: screenshot(f, SOPClassUID=SPECTRUM),
    "readme": lambda f: (f / "README").write_text("no image"),
    "directory": lambda f: (f / "DICOMDIR").write_bytes(bytes(128) + b"DICM"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_pictures_and_notes_beside_the_slices_are_passed_over(tmp_path, name):
    folder = write_series(tmp_path / "t2", MR)
    BESIDE[name](folder)
    for path in (folder, folder / "IM001.dcm"):
        np.testing.assert_array_equal(read_volume(path, "a.u.").array, MR)


def test_of_a_named_series_alone_is_anything_asked(tmp_path):
    """Another series beside it is in colour; what may be of the series is still refused."""
    folder = write_series(tmp_path / "t2", MR)
    write_series(folder, MR, number=2, prefix="C", SamplesPerPixel=3, PlanarConfiguration=0,
                 PhotometricInterpretation="RGB")  # fmt: skip
    np.testing.assert_array_equal(read_volume(folder / "IM001.dcm", "a.u.").array, MR)
    with pytest.raises(InputError, match=r"C001\.dcm holds RGB pixels"):
        read_volume(folder, "a.u.")
    edit(folder / "IM007.dcm", SeriesInstanceUID=None)
    with pytest.raises(InputError, match=r"IM007\.dcm lacks SeriesInstanceUID"):
        read_volume(folder / "IM001.dcm", "a.u.")


def test_a_damaged_slice_without_a_suffix_still_counts(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    for path in folder.iterdir():
        path.rename(path.with_suffix(""))
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)
    truncate(folder / "IM007", 0)
    with pytest.raises(InputError, match="IM007 is damaged or not DICOM"):
        read_volume(folder, "a.u.")


@pytest.mark.parametrize("name", ["DOE^JANE", "Doe^Jane^^^", "doe^jane=山田"])
def test_one_patient_whose_name_is_written_in_two_ways(tmp_path, name):
    folder = write_series(tmp_path / "t2", MR)
    edit(folder / "IM002.dcm", SpecificCharacterSet="ISO_IR 192", PatientName=name)
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_files_without_a_preamble_are_read(tmp_path, syntax):
    """As old exports wrote them: the data set alone."""
    folder = write_series(tmp_path / "t2", MR)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.preamble = None
        implicit = syntax == ImplicitVRLittleEndian
        del image.file_meta
        pydicom.dcmwrite(path, image, implicit_vr=implicit, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)
    np.testing.assert_array_equal(read_volume(folder / "IM001.dcm", "a.u.").array, MR)


def test_an_empty_scale_is_none(tmp_path):
    folder = write_series(tmp_path / "t2", MR, RescaleSlope="", RescaleIntercept="")
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


def test_lossless_compression_that_pydicom_reads_is_no_obstacle(tmp_path):
    folder = write_series(tmp_path / "t2", MR)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.compress(RLELossless, generate_instance_uid=False)
        image.save_as(path)
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


def as_jpeg(path):
    """Compress a file as JPEG lossless, by ITK."""
    image, writer = pydicom.dcmread(path), sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    coded = path.with_name("coded.dcm")
    writer.SetFileName(str(coded))
    before = locale.setlocale(locale.LC_ALL)
    writer.Execute(sitk.ReadImage(str(path)))
    locale.setlocale(locale.LC_ALL, before)  # ITK leaves C, in which Python reads ASCII alone
    jpeg = pydicom.dcmread(coded)
    coded.unlink()
    image.PixelData, image["PixelData"].VR = jpeg.PixelData, "OB"
    image.file_meta.TransferSyntaxUID = jpeg.file_meta.TransferSyntaxUID
    image.save_as(path)


def as_jpeg_ls(path):
    """Compress a file as JPEG-LS lossless, by CharLS."""
    pytest.importorskip("jpeg_ls")
    image = pydicom.dcmread(path)
    image.compress(JPEGLSLossless, generate_instance_uid=False)
    image.save_as(path)


JPEG = {JPEGLosslessSV1: as_jpeg, JPEGLSLossless: as_jpeg_ls}


@pytest.mark.parametrize("syntax", JPEG)
@pytest.mark.parametrize("stored", [MR.astype(np.uint16), voxels()], ids=["unsigned", "signed"])
def test_lossless_jpeg_is_read_exactly(tmp_path, syntax, stored):
    pytest.importorskip("libjpeg")
    folder = write_series(tmp_path / "t2", stored)
    for path in folder.glob("IM*.dcm"):
        JPEG[syntax](path)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, stored)


@pytest.mark.parametrize("syntax", JPEG)
def test_without_a_decoder_the_extra_is_named(tmp_path, syntax):
    folder = write_series(tmp_path / "t2", MR.astype(np.uint16))
    recode(folder / "IM004.dcm", syntax)
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('gdcm', 'jpeg_ls', 'libjpeg', 'pylibjpeg')))\n"
        "from sde_ct.volumes.files import read_volume\n"
        f"read_volume({str(folder)!r}, 'a.u.')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert "IM004.dcm is compressed as JPEG" in last and "pip install '.[jpeg]'" in last


def test_names_of_folders_may_be_any(tmp_path):
    folder = write_series(tmp_path / "Prostata, Ödem 2 %", MR)
    np.testing.assert_array_equal(read_volume(folder, "a.u.").array, MR)


def recode(path, syntax):
    """The file claims to hold what no decoder here reads."""
    image = pydicom.dcmread(path)
    image.PixelData = encapsulate([b"\xff\xd8\xff\xf7" + bytes(60)])
    image["PixelData"].VR = "OB"
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(path)


def shift(folder, name, **by):
    """Move one slice by some mm along x, y or z (LPS)."""
    image = pydicom.dcmread(folder / name)
    place = [
        float(v) + by.get(k, 0) for k, v in zip("xyz", image.ImagePositionPatient, strict=True)
    ]
    edit(folder / name, ImagePositionPatient=place)


def copied(folder, name, bits, **tags):
    """Copy a slice, flip bits of its stored pixels, and change tags of the copy."""
    image = pydicom.dcmread(folder / f"{name}.dcm")
    image.PixelData = bytes(byte ^ bits for byte in image.PixelData)
    image.save_as(folder / f"{name}b.dcm")
    edit(folder / f"{name}b.dcm", **tags)


def tilt(folder):
    for n in range(1, SHAPE[2] + 1):
        shift(folder, f"IM{n:03d}.dcm", y=0.5 * n)


def truncate(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def colour(folder):
    edit(
        folder / "IM004.dcm", SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )  # fmt: skip


# What is done to a folder of seven sound slices, and what the sentence must hold.
BAD = {
    "empty": (lambda f: [p.unlink() for p in f.iterdir()], "holds no DICOM image"),
    "text only": (
        lambda f: [p.rename(p.with_suffix(".txt")).write_text("") for p in f.iterdir()],
        "holds no DICOM image",
    ),
    "parent": (
        lambda f: (deep := f / "deep").mkdir() or [shutil.move(p, deep) for p in f.glob("*.dcm")],
        "give the folder of one series, such as deep",
    ),
    "two patients": (
        lambda f: write_series(f, MR, number=2, prefix="B", PatientID="K-4"),
        "holds images of 2 patients: keep one patient per folder",
    ),
    "two series": (lambda f: write_series(f, MR, number=2, prefix="B"), "holds 2 series"),
    "copied twice": (
        lambda f: shutil.copy(f / "IM002.dcm", f / "IM002b.dcm"),
        r"1 duplicated slice \(IM002.dcm and IM002b.dcm have the same SOPInstanceUID and the same "
        r"pixel data\): keep one of the copies",
    ),
    "copied twice, one copy changed": (
        lambda f: [copied(f, "IM002", 0), copied(f, "IM004", 7), copied(f, "IM006", 0)],
        r"3 duplicated slices \(IM004.dcm and IM004b.dcm have the same SOPInstanceUID but "
        r"different pixel data\): find out which of them is right and keep that one",
    ),
    "copied twice, one copy of another scale": (
        lambda f: copied(f, "IM002", 0, RescaleSlope=2, RescaleIntercept=0),
        "have the same SOPInstanceUID but different pixel data",
    ),
    "two echoes": (
        lambda f: write_series(f, MR, prefix="E", EchoNumbers=2, SOPInstanceUID="1.2.3.4"),
        r"2 volumes in one series, EchoNumbers=2 \(7 images\), EchoNumbers=none \(7 images\): "
        "choose one, such as --choose='EchoNumbers=2'",
    ),
    "two echoes, not told apart": (
        lambda f: write_series(f, MR, prefix="E", SOPInstanceUID="1.2.3.4"),
        "7 duplicated slices .* lie in the same place",
    ),
    "missing": (
        lambda f: (f / "IM004.dcm").unlink(),
        "lacks a slice between IM003.dcm and IM005.dcm",
    ),
    "two missing": (
        lambda f: [(f / f"IM00{n}.dcm").unlink() for n in (3, 4)],
        "lacks 2 slices",
    ),
    "a narrow gap before a wide one": (
        lambda f: [(f / f"IM00{n}.dcm").unlink() for n in (2, 4, 5)],
        "lacks 3 slices, the first of them between IM001.dcm and IM003.dcm",
    ),
    "uneven": (lambda f: shift(f, "IM004.dcm", z=0.4), "slices 2.6 to 3.4 mm apart"),
    "beside": (lambda f: shift(f, "IM004.dcm", x=2), "1.7 mm beside the straight line"),
    "gantry tilt": (tilt, r"gantry tilt of 9.5 degrees"),
    "turned": (
        lambda f: edit(f / "IM004.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "different orientations: take localizers",
    ),
    "no direction": (
        lambda f: edit(f / "IM004.dcm", ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "that are not perpendicular unit vectors",
    ),
    "other size": (
        lambda f: edit(f / "IM004.dcm", PixelSpacing=[1.25, 0.9]),
        "differ in size or PixelSpacing",
    ),
    "other frame": (
        lambda f: edit(f / "IM004.dcm", FrameOfReferenceUID="1.2.3"),
        "different frames of reference",
    ),
    "own UIDs and several kinds": (
        lambda f: (write_series(f, MR, number=2, prefix="B"), own_uids(f, "SeriesInstanceUID")),
        r"holds 2 series: t2 tse 2 \(MR, 7 slices, B001.dcm\), t2 tse 1 .*give the file that is n",
    ),
    "own UIDs and one missing": (
        lambda f: (own_uids(f, *UIDS), (f / "IM004.dcm").unlink()),
        "lacks a slice between IM003.dcm and IM005.dcm",
    ),
    "own UIDs and a stray": (
        lambda f: (own_uids(f, "SeriesInstanceUID"), edit(f / "IM004.dcm", PixelSpacing=[1, 1])),
        "holds 2 series",
    ),
    "two frames": (
        lambda f: [edit(f / f"IM00{n}.dcm", FrameOfReferenceUID="1.2.3") for n in (1, 2, 3)],
        "different frames of reference",
    ),
    "one slice": (
        lambda f: [p.unlink() for p in f.iterdir() if p.name != "IM004.dcm"],
        "holds one slice of its series",
    ),
    "no position": (
        lambda f: edit(f / "IM004.dcm", ImagePositionPatient=None),
        "IM004.dcm lacks ImagePositionPatient: export",
    ),
    "no spacing": (lambda f: edit(f / "IM004.dcm", PixelSpacing=None), "lacks PixelSpacing"),
    "empty spacing": (lambda f: edit(f / "IM004.dcm", PixelSpacing=""), "lacks PixelSpacing"),
    "zero spacing": (
        lambda f: edit(f / "IM004.dcm", PixelSpacing=[1.25, 0]),
        "impossible PixelSpacing",
    ),
    "short position": (
        lambda f: edit(f / "IM004.dcm", ImagePositionPatient=[1, 2]),
        "impossible ImagePositionPatient",
    ),
    "no series": (lambda f: edit(f / "IM004.dcm", SeriesInstanceUID=None), "lacks SeriesInstance"),
    "no modality": (lambda f: edit(f / "IM004.dcm", Modality=None), "lacks Modality"),
    "half a scale": (lambda f: edit(f / "IM004.dcm", RescaleSlope=2), "lacks RescaleIntercept"),
    "multi-frame": (
        lambda f: edit(f / "IM004.dcm", NumberOfFrames=4),
        r"multi-frame image \(4 frames\): export it with one file per slice",
    ),
    "enhanced": (
        lambda f: edit(f / "IM004.dcm", SharedFunctionalGroupsSequence=[], NumberOfFrames=1),
        "IM004.dcm is an enhanced image: export it with one file per slice",
    ),
    "empty scale": (
        lambda f: edit(f / "IM004.dcm", RescaleSlope=2, RescaleIntercept=""),
        "lacks RescaleIntercept",
    ),
    "colour": (colour, "holds RGB pixels: give the series of plain grey"),
    "compressed": (
        lambda f: recode(f / "IM004.dcm", MPEG2MPML),
        r"compressed as MPEG2 .* no installed library reads: decompress it$",
    ),
    "broken JPEG": (
        lambda f: recode(f / "IM004.dcm", JPEGLosslessSV1),
        "IM004.dcm is (damaged|compressed as JPEG Lossless)",
    ),
    "broken JPEG-LS": (
        lambda f: recode(f / "IM004.dcm", JPEGLSLossless),
        "IM004.dcm is (damaged|compressed as JPEG-LS)",
    ),
    "broken code": (lambda f: recode(f / "IM004.dcm", RLELossless), "IM004.dcm is damaged"),
    "no voxels": (lambda f: edit(f / "IM004.dcm", PixelData=None), "IM004.dcm is damaged"),
    "truncated voxels": (lambda f: truncate(f / "IM004.dcm", -40), "IM004.dcm is damaged"),
    "truncated tags": (lambda f: truncate(f / "IM004.dcm", 300), "IM004.dcm (is damaged|lacks)"),
    "zero bytes": (lambda f: truncate(f / "IM004.dcm", 0), "IM004.dcm is damaged or not DICOM"),
    "of text": (lambda f: (f / "IM004.dcm").write_text("no image"), "IM004.dcm is damaged or not"),
    "CT": (
        lambda f: [
            edit(p, Modality="CT", RescaleSlope=1, RescaleIntercept=0) for p in f.iterdir()
        ],
        "series of CT: give one of MR",
    ),
    "CT of no scale": (
        lambda f: [edit(p, Modality="CT") for p in f.iterdir()],
        "lacks RescaleSlope, RescaleIntercept: export",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_unusable_folders_are_refused_in_one_sentence(tmp_path, case):
    spoil, sentence = BAD[case]
    folder = write_series(tmp_path / "t2", MR)
    spoil(folder)
    before = {p: p.stat().st_size for p in folder.rglob("*")}
    with pytest.raises(InputError, match=sentence) as error:
        read_volume(folder, "a.u.")
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    assert {p: p.stat().st_size for p in folder.rglob("*")} == before


def test_an_offset_of_1024_is_named(tmp_path):
    body = np.where(voxels() < 0, -1000, 40).astype(np.int16)  # air and soft tissue
    folder = write_series(tmp_path / "ct", body + 1024, modality="CT")
    with pytest.raises(InputError, match=r"look like HU \+ 1024; subtract 1024"):
        read_volume(folder, "HU")


def test_an_mr_is_no_ct(tmp_path):
    with pytest.raises(InputError, match="series of MR: give one of CT"):
        read_volume(write_series(tmp_path / "t2", voxels()), "HU")


def test_a_real_ct_without_its_intercept_is_refused(real_data):
    """Values of 0 to some 3000 with RescaleIntercept 0."""
    with pytest.raises(InputError, match=r"ct_dicom is not in HU .*HU \+ 1024"):
        read_volume(real_data / "ct_dicom", "HU")


@pytest.fixture
def real_data(head_pair):
    return head_pair.parent
