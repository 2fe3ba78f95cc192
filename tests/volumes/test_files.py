"""Files as they should be, and every way in which they are not."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sde_ct.errors import InputError
from sde_ct.volumes import nifti
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.formats import either_format
from sde_ct.volumes.volume import Volume

from .fuzz import MUTATIONS, count_refused

OBLIQUE = np.array(
    [[0.9, -0.3, 0.1, 11.0], [0.3, 0.95, 0.2, -7.5], [-0.1, -0.1, 3.0, 250.0], [0, 0, 0, 1]]
).astype(np.float32)
CT = np.random.default_rng(0).integers(-1024, 1500, (6, 5, 4)).astype(np.int16)
BODY = np.where(CT < 0, -1000, 40).astype(np.int16)  # air and soft tissue


def save(path, array, affine=OBLIQUE, unit="mm"):
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def truncated(path):
    save(path, np.random.default_rng(0).normal(size=(20, 20, 20)))
    path.write_bytes(path.read_bytes()[:5000])


def damaged(path):
    save(path, np.random.default_rng(0).normal(size=(20, 20, 20)))
    data = bytearray(path.read_bytes())
    data[2000:2400] = bytes(400)
    path.write_bytes(bytes(data))


def cut_before_compression(path):
    save(path, np.zeros((20, 20, 20)))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:4000]))


def singular(path):
    """nibabel mends such headers as it writes them, so the sform is zeroed in the bytes."""
    save(path, CT)
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[296:312] = bytes(16)  # srow_y
    path.write_bytes(gzip.compress(bytes(data)))


def with_value(value, dtype=np.float32):
    array = CT.astype(dtype)
    array[1, 2, 3] = value
    return lambda path: save(path, array)


BAD = {
    "missing": (lambda path: None, "HU", "does not exist"),
    "truncated": (truncated, "a.u.", "damaged"),
    "corrupt": (damaged, "a.u.", "damaged"),
    "short": (cut_before_compression, "a.u.", "damaged"),
    "text": (lambda path: path.write_text("no image"), "a.u.", "damaged"),
    "empty": (lambda path: path.write_bytes(b""), "mask", "damaged"),
    "2D": (lambda path: save(path, CT[..., 0]), "a.u.", "one 3D volume"),
    "4D": (lambda path: save(path, np.stack([CT, CT], -1)), "HU", "one 3D volume"),
    "colour": (
        lambda path: save(path, np.zeros((4, 4, 4), [(c, "u1") for c in "RGB"])),
        "a.u.",
        "grey values",
    ),
    "nan": (with_value(np.nan), "HU", "1 voxels that are not finite"),
    "beyond float32": (with_value(1e300, np.float64), "a.u.", "not finite"),
    "infinite": (with_value(np.inf), "a.u.", "not finite"),
    "singular": (singular, "HU", "singular affine"),
    "offset": (lambda path: save(path, BODY + 1024), "HU", r"HU \+ 1024; subtract"),
    "unit range": (lambda path: save(path, (CT + 1024) / np.float32(3000)), "HU", "scaled to"),
    "model range": (lambda path: save(path, CT / np.float32(1500)), "HU", "scaled to"),
    "8 bit": (lambda path: save(path, CT.astype(np.uint8)), "HU", "lost its negative values"),
    "no contrast": (lambda path: save(path, CT // 20), "HU", "neither air nor bone"),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_files_are_refused_in_one_sentence(tmp_path, case):
    make, unit, sentence = BAD[case]
    path = tmp_path / "scan.nii.gz"
    make(path)
    with pytest.raises(InputError, match=sentence) as error:
        read_volume(path, unit)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


HALF_TURN = np.diag([-2.0, -2, 3, 1])
PLACES = {  # qform beside the sform diag(2, 2, 3), and how far apart the farthest voxels lie
    "half a turn": (HALF_TURN, "25.6"),  # 2 * |(5 * 2, 4 * 2)|
    "100 mm": (np.diag([2.0, 2, 3, 1]) + 100 * np.eye(4, k=3), "100"),
    "two voxels": (np.diag([2.0, 2, 3, 1]) + 6 * np.eye(4, k=3), "6"),
    "less than a slice": (np.diag([2.0, 2, 3, 1]) + 2.5 * np.eye(4, k=3), "2.5"),
    "a tenth of a voxel": (np.diag([2.0, 2, 3, 1]) + 0.2 * np.eye(4, k=3), "0.2"),
}


@pytest.mark.parametrize("name", PLACES)
def test_two_places_in_one_header_are_refused(tmp_path, name):
    qform, apart = PLACES[name]
    image = nib.Nifti1Image(CT, np.diag([2.0, 2, 3, 1]))
    image.set_qform(qform, code="scanner")
    nib.save(image, tmp_path / "ct.nii.gz")
    with pytest.raises(InputError, match=rf"sform and a qform that lie up to {apart} mm apart"):
        read_volume(tmp_path / "ct.nii.gz", "HU")


def test_places_within_rounding_are_one(tmp_path):
    """A double oblique scan as converters turn it: the quaternion's first number is almost zero.

    A tilt by 30 degrees, another by a few hundredths. Float32 then holds the rotation to some 6e-4,
    which moves the far corner of 450 mm by more than the 0.1 mm that other headers are allowed.
    The sform counts.
    """
    shape, worst = (512, 512, 60), 0.0
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    for angle in np.radians(np.linspace(0, 0.2, 40)):
        turn = np.array([[1, -angle, 0], [angle, 1, 0], [0, 0, 1]])  # to 6e-6, its square
        affine = tilt @ turn @ np.diag([-0.875, 0.875, 3])
        affine = nib.affines.from_matvec(affine, (220.0, -180, -90)).astype("f4")
        image = nib.Nifti1Image(np.broadcast_to(np.uint8(1), shape), affine)
        image.set_qform(affine, code="scanner")
        assert nifti.places_apart(image.header) <= nifti._tolerance(image.header)
        worst = max(worst, nifti.places_apart(image.header))
    assert worst > nifti.SAME_PLACE_MM  # the allowance for rounding is needed
    image = nib.Nifti1Image(CT, affine)
    image.set_qform(affine, code="scanner")
    nib.save(image, tmp_path / "ct.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "ct.nii.gz", "HU").affine, affine)


def test_a_sheared_volume_is_written_so_that_it_can_be_read(tmp_path):
    """By the sform alone, for a qform would put it elsewhere."""
    sheared = OBLIQUE @ (np.eye(4) + 2 * np.eye(4, k=2))
    sheared[:3, 3] = 0
    volume = Volume(np.tile(CT, (1, 1, 10)), sheared.astype("f8"), "HU")
    path = write_volume(tmp_path / "a.nii.gz", volume)
    np.testing.assert_allclose(read_volume(path, "HU").affine, sheared, atol=1e-5)
    assert nib.load(path).header["qform_code"] == 0


def test_other_formats_are_refused(tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(b"anything")
    with pytest.raises(InputError, match=f"is not {either_format()}: convert it"):
        read_volume(path, "a.u.")


def test_cifti_has_the_suffix_and_is_no_volume(tmp_path):
    voxels = nib.cifti2.BrainModelAxis.from_mask(np.ones((3, 3, 3), bool), affine=np.eye(4))
    axes = nib.cifti2.ScalarAxis(["x"]), voxels
    nib.save(nib.Cifti2Image(np.zeros((1, 27), "f4"), axes), tmp_path / "mr.dscalar.nii")
    with pytest.raises(InputError, match="holds a Cifti2Image: give a NIfTI volume"):
        read_volume(tmp_path / "mr.dscalar.nii", "a.u.")


def test_a_ct_in_hu_is_read_as_it_is(tmp_path):
    volume = read_volume(save(tmp_path / "ct.nii", CT), "HU")
    np.testing.assert_array_equal(volume.array, CT)
    np.testing.assert_array_equal(volume.affine, OBLIQUE)
    assert volume.array.dtype == np.float32


def test_scaling_in_the_header_and_a_fourth_axis_of_one_are_resolved(tmp_path):
    stored = (CT + 1024) // 2
    image = nib.Nifti1Image(stored[..., None], OBLIQUE)
    image.header.set_slope_inter(2.0, -1024.0)
    nib.save(image, tmp_path / "ct.nii.gz")
    volume = read_volume(tmp_path / "ct.nii.gz", "HU")
    np.testing.assert_array_equal(volume.array, 2.0 * stored - 1024)


@pytest.mark.parametrize(("unit", "scale"), [("meter", 1e3), ("micron", 1e-3), ("mm", 1)])
def test_affine_is_in_millimetres_whatever_the_file_says(tmp_path, unit, scale):
    stored = np.diag([1 / scale, 1 / scale, 1 / scale, 1]) @ OBLIQUE
    volume = read_volume(save(tmp_path / "mr.nii.gz", CT, stored, unit=unit), "a.u.")
    np.testing.assert_allclose(volume.affine[:3], OBLIQUE[:3], rtol=1e-6)


def test_any_label_of_a_mask_is_inside(tmp_path):
    labels = np.zeros((3, 3, 3), np.int16)
    labels[1] = 255
    volume = read_volume(save(tmp_path / "mask.nii.gz", labels), "mask")
    assert volume.array.dtype == np.uint8
    np.testing.assert_array_equal(volume.array, labels // 255)


@settings(deadline=None, max_examples=15)
@given(arrays(np.float64, (2, 3, 4), elements=st.floats(-9e4, 9e4)), st.sampled_from(["", ".gz"]))
def test_hu_are_written_rounded_and_clipped_on_the_same_grid(tmp_path_factory, voxels, suffix):
    path = tmp_path_factory.mktemp("out") / "deep" / f"sct.nii{suffix}"
    write_volume(path, Volume(voxels, OBLIQUE.astype(np.float64), "HU"))
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16
    expected = np.clip(np.rint(voxels), -32768, 32767)
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
    np.testing.assert_array_equal(image.affine, OBLIQUE)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["sform_code"] == 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_orthogonal_affine_is_the_same_by_sform_and_qform(tmp_path):
    affine = np.array([[0, 0, 3.0, 1], [-1.5, 0, 0, 2], [0, 0.8, 0, 3], [0, 0, 0, 1]])
    image = nib.load(write_volume(tmp_path / "a.nii.gz", Volume(CT, affine, "HU")))
    assert image.header["qform_code"] == 1
    np.testing.assert_allclose(image.get_qform(), affine, atol=1e-5)  # float32 quaternions


@pytest.mark.parametrize(("unit", "dtype"), [("a.u.", np.float32), ("mask", np.uint8)])
def test_other_units_keep_their_kind(tmp_path, unit, dtype):
    path = write_volume(tmp_path / "v.nii.gz", Volume(CT > 0, OBLIQUE, unit))
    assert nib.load(path).get_data_dtype() == dtype


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path, volume = tmp_path / "sct.nii.gz", Volume(CT, OBLIQUE, "HU")
    write_volume(path, volume)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        write_volume(path, volume.with_array(CT * 0))
    assert path.read_bytes() == before
    write_volume(path, volume.with_array(CT * 0), overwrite=True)
    assert not np.asarray(nib.load(path).dataobj).any()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = write_volume(tmp_path / "sct.nii.gz", Volume(CT, OBLIQUE, "HU"))
    before = path.read_bytes()

    def full_disk(image, name):
        name.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(nib, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_volume(path, Volume(CT * 0, OBLIQUE, "HU"), overwrite=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "voxels", "sentence"),
    [
        ("sct.png", CT, "not have the suffix of a volume"),
        ("sct.nii", np.full((2, 2, 2), np.nan), "not finite"),
    ],
)
def test_unwritable_volumes_are_refused(tmp_path, name, voxels, sentence):
    with pytest.raises(InputError, match=sentence):
        write_volume(tmp_path / name, Volume(voxels, OBLIQUE, "HU"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_changed_bytes_are_refused_or_read(tmp_path, suffix):
    """250 damaged files of each kind, half of the changes in the header of 352 bytes."""
    path = save(tmp_path / f"mr.nii{suffix}", CT)
    refused = count_refused(path, path, "a.u.", head=min(352, path.stat().st_size))
    # Any value suits a voxel and much of the header; compression has a checksum.
    assert MUTATIONS // 10 < refused <= MUTATIONS
