"""NIfTI files whose sform and qform differ: nibabel and ITK must read one place, or we refuse."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.nifti import place_notes
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.slice_grid import SliceGrid, from_slices, slice_grid, to_slices
from sde_ct.volumes.volume import Volume, canonical, restore

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
MR = np.random.default_rng(0).integers(0, 500, (8, 9, 6)).astype(np.int16)


def _by_itk(path):
    """The affine to RAS mm that ITK reads."""
    image = sitk.ReadImage(str(path))
    axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes, image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize("qform_code", range(5))
@pytest.mark.parametrize("sform_code", range(5))
@pytest.mark.parametrize("apart", [0, 0.05, 4])
def test_a_file_is_read_where_itk_reads_it_or_refused(tmp_path, sform_code, qform_code, apart):
    """0.05 mm apart is rounding; 4 mm on slices of 5 mm is below a voxel, but another place."""
    image = nib.Nifti1Image(MR, AFFINE)
    moved = AFFINE.copy()
    moved[2, 3] += apart
    image.set_sform(AFFINE, code=sform_code)
    image.set_qform(moved, code=qform_code)
    nib.save(image, tmp_path / "mr.nii.gz")
    if not sform_code and not qform_code:
        return  # no place at all
    try:
        volume = read_volume(tmp_path / "mr.nii.gz", "a.u.")
    except InputError as error:
        assert apart == 4 and "sform and a qform that lie up to 4 mm apart" in str(error)
        assert sform_code and qform_code
    else:
        np.testing.assert_allclose(volume.affine, _by_itk(tmp_path / "mr.nii.gz"), atol=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.2, 0.9, np.pi - 1e-3])
def test_what_is_written_is_read_in_one_place(tmp_path, angle):
    turn, (c, s) = np.eye(4), (np.cos(angle), np.sin(angle))
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    path = write_volume(tmp_path / "ct.nii.gz", Volume(MR.astype("f4"), turn @ AFFINE, "HU"))
    np.testing.assert_allclose(nib.load(path).affine, turn @ AFFINE, atol=1e-4)
    np.testing.assert_allclose(_by_itk(path), turn @ AFFINE, atol=1e-3)


def _mr(path, affine, code):
    """A file with this sform and no qform."""
    image = nib.Nifti1Image(MR, affine)
    image.set_sform(affine, code=code)
    image.set_qform(None)
    nib.save(image, path)
    return read_volume(path, "a.u.")


def _far(affine):
    return (affine @ [*np.array(MR.shape) - 1, 1])[:3]


@pytest.mark.parametrize("code", [1, 2, 3, 4])
@pytest.mark.parametrize("angle", [0.2, np.pi - 1e-3, np.pi - 2e-4])
def test_the_space_of_the_mr_is_kept_and_read_in_one_place(tmp_path, code, angle):
    """Near half a turn a qform, which ITK takes beside a sform code of 2 to 4, is not exact."""
    turn, (c, s) = np.eye(4), (np.cos(angle), np.sin(angle))
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    affine = turn @ np.diag([20.0, 20.0, 50.0, 1.0])  # the far corner is 0.35 m away
    mr = _mr(tmp_path / "mr.nii.gz", affine, code)
    path = write_volume(tmp_path / "ct.nii.gz", mr.with_array(MR.astype("f4"), "HU"))
    header = nib.load(path).header
    assert header["sform_code"] == code and header["qform_code"] in (0, code)
    assert bool(place_notes(mr)) == (header["qform_code"] == 0)
    # Float32 in headers is good to 1e-4 mm; 0.01 mm is a hundredth of the smallest voxels.
    np.testing.assert_allclose(_far(nib.load(path).affine), _far(affine), rtol=0, atol=0.01)
    np.testing.assert_allclose(_far(_by_itk(path)), _far(affine), rtol=0, atol=0.01)


@pytest.mark.parametrize("code", [1, 2, 4])
def test_a_sheared_file_keeps_its_space_and_has_a_note(tmp_path, code):
    shear = np.eye(4)
    shear[0, 2] = 0.3
    mr = _mr(tmp_path / "mr.nii.gz", shear @ AFFINE, code)
    header = nib.load(write_volume(tmp_path / "ct.nii.gz", mr)).header
    assert (header["sform_code"], header["qform_code"]) == (code, 0)
    (note,) = place_notes(mr)
    assert "by the sform alone (qform_code 0)" in note and "ITK and the programs" in note


def test_every_way_of_a_volume_keeps_its_space(tmp_path):
    flipped = np.diag([-2.0, 2.0, 5.0, 1.0])
    mr = _mr(tmp_path / "mr.nii.gz", flipped, 4)
    other = Volume(mr.array, mr.affine, "HU")
    grid = slice_grid(mr)
    read = SliceGrid.from_json(grid.to_json())
    back = from_slices(to_slices(mr, grid), read)
    for volume in (
        canonical(mr),
        restore(canonical(other), mr),
        back,
        resample_on(other, mr, fill=0),
    ):
        assert volume.space == 4
    assert "space" not in slice_grid(other).to_json()  # as in records of before


@pytest.mark.parametrize(("code", "kept"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 1)])
def test_other_codes_become_the_scanners(tmp_path, code, kept):
    image = nib.Nifti1Image(MR, AFFINE)
    image.set_sform(AFFINE, code=code)
    image.set_qform(AFFINE, code=1)
    nib.save(image, tmp_path / "mr.nii.gz")
    assert read_volume(tmp_path / "mr.nii.gz", "a.u.").space == kept
