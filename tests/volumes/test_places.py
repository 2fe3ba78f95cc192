"""NIfTI files whose sform and qform differ: nibabel and ITK must read one place, or we refuse."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume, write_volume
from sde_ct.volumes.volume import Volume

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
