"""Enhanced MR, one file of many frames, made from the standard alone."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from sde_ct.doctor.check_dicom import survey
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.choice import parse_choices
from sde_ct.volumes.dicom.identity import identity_of
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.write import write_ct_series
from sde_ct.volumes.files import read_volume

from ..dicom_series import ACQUISITIONS, ORIGIN, SPACING, save, voxels, write_series

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
MR = voxels() + 1000


def group(**tags) -> Sequence:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return Sequence([item])


def frame(array, k, *, axes=ACQUISITIONS["axial"], echo=80.0, stack="1", slope=1.0, kind="M"):
    """The pixels of slice `k` and the functional groups that describe it."""
    row, column = (np.array(v, float) for v in axes)
    position = np.array(ORIGIN) + k * SPACING[2] * np.cross(row, column)
    groups = Dataset()
    groups.PlanePositionSequence = group(ImagePositionPatient=[f"{v:.10g}" for v in position])
    groups.PlaneOrientationSequence = group(
        ImageOrientationPatient=[f"{v:.10g}" for v in (*row, *column)]
    )
    groups.FrameContentSequence = group(StackID=stack, InStackPositionNumber=k + 1)
    groups.MREchoSequence = group(EffectiveEchoTime=echo)
    groups.MRImageFrameTypeSequence = group(FrameType=["ORIGINAL", "PRIMARY", "T2", kind])
    groups.PixelValueTransformationSequence = group(
        RescaleSlope=slope, RescaleIntercept=-8 * (slope != 1), RescaleType="US"
    )
    return np.ascontiguousarray(array[..., k].T), groups


def write_enhanced(folder, frames, name="mr.dcm"):
    """One file of the frames, in the order given; the pixel measures are shared."""
    path = write_series(folder, MR[..., :1]) / "IM001.dcm"
    image = pydicom.dcmread(path)
    path.unlink()
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del image[keyword]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = ENHANCED_MR
    image.NumberOfFrames = len(frames)
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[SPACING[1], SPACING[0]])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    image.PerFrameFunctionalGroupsSequence = Sequence([groups for _, groups in frames])
    image.PixelData = b"".join(pixels.tobytes() for pixels, _ in frames)
    save(image, folder / name)
    return folder / name


SLICES = range(MR.shape[2])


def test_frames_in_any_order_are_one_volume_scaled_by_their_own_tags(tmp_path):
    axes = ACQUISITIONS["oblique"]
    order = np.random.default_rng(3).permutation(MR.shape[2])
    slopes = {2: 0.5}
    frames = [frame(MR, int(k), axes=axes, slope=slopes.get(int(k), 1.0)) for k in order]
    file = write_enhanced(tmp_path / "mr", frames)
    usual = read_volume(write_series(tmp_path / "usual", MR, axes=axes), "a.u.")
    expected = MR.astype(np.float32)
    expected[..., 2] = expected[..., 2] / 2 - 8  # halves are exact
    for path in (file, file.parent):
        volume = read_volume(path, "a.u.")
        np.testing.assert_array_equal(volume.array, expected)
        np.testing.assert_array_equal(volume.affine, usual.affine)
    found = survey(file.parent)
    assert found.is_volume and not found.findings and found.files == 1


def test_each_slice_refers_to_its_frame(tmp_path):
    series = open_series(write_enhanced(tmp_path / "mr", [frame(MR, k) for k in reversed(SLICES)]))
    assert [image.sop[2] for image in series.slices] == ["7", "6", "5", "4", "3", "2", "1"]


def test_the_slices_of_a_ct_series_refer_to_the_frames(tmp_path):
    file = write_enhanced(tmp_path / "mr", [frame(MR, k) for k in reversed(SLICES)])
    hu = read_volume(file, "a.u.").with_array(voxels().astype(np.float32), "HU")
    written = write_ct_series(tmp_path / "sct", hu, identity_of(open_series(file)))
    (reference,) = pydicom.dcmread(written / "0001.dcm").SourceImageSequence
    assert reference.ReferencedSOPClassUID == ENHANCED_MR
    assert reference.ReferencedFrameNumber == 7  # the lowest slice, which is the last frame
    np.testing.assert_array_equal(read_volume(written, "HU").array, voxels())


@pytest.fixture
def mixed(tmp_path):
    """Two echoes and a stack of another direction in one file."""
    echoes = [frame(MR + n, k, echo=te) for k in SLICES for n, te in enumerate((80.0, 100.0))]
    stack = [frame(MR + 5, k, axes=ACQUISITIONS["coronal"], stack="2") for k in SLICES]
    return write_enhanced(tmp_path / "mr", echoes + stack)


def test_echoes_and_stacks_are_chosen(mixed):
    def read(*choices):
        return read_volume(open_series(mixed, parse_choices(choices)), "a.u.").array

    np.testing.assert_array_equal(read("StackID=1", "EchoTime=100"), MR + 1)
    np.testing.assert_array_equal(read("StackID=2"), MR + 5)
    with pytest.raises(InputError) as error:
        read("StackID=1")
    assert "2 volumes in one series, EchoTime=80.0 (7 images), EchoTime=100.0 (7" in str(
        error.value
    )
    with pytest.raises(InputError) as error:
        read()
    assert "EchoTime=80.0 and StackID=2 (7 images)" in str(error.value)


def lost(file, keyword):
    image = pydicom.dcmread(file)
    del image.PerFrameFunctionalGroupsSequence[3][keyword]
    image.save_as(file)


def fewer(file, frames):
    image = pydicom.dcmread(file)
    image.NumberOfFrames = frames
    image.save_as(file)


def fewer_pixels(file):
    image = pydicom.dcmread(file)
    image.PixelData = image.PixelData[:-40]
    image.save_as(file)


def enhanced(folder, keep=SLICES):
    for path in folder.glob("*"):
        path.unlink()
    return write_enhanced(folder, [frame(MR, k) for k in keep])


BAD = {
    "no place": (
        lambda f: lost(enhanced(f), "PlanePositionSequence"),
        "lacks ImagePositionPatient",
    ),
    "fewer frames": (lambda f: fewer(enhanced(f), 5), "holds 5 frames but describes 7: export"),
    "frame missing": (lambda f: enhanced(f, (0, 1, 2, 4, 5, 6)), "lacks a slice"),
    "frame twice": (lambda f: enhanced(f, (0, 1, 1, 2)), "1 duplicated slice "),
    "one frame": (lambda f: enhanced(f, (3,)), "one slice of its series"),
    "short": (lambda f: fewer_pixels(enhanced(f)), "mr.dcm is damaged"),
}


@pytest.mark.parametrize("case", BAD)
def test_damaged_frames_are_refused(tmp_path, case):
    spoil, sentence = BAD[case]
    folder = tmp_path / "mr"
    folder.mkdir()
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        read_volume(folder, "a.u.")
