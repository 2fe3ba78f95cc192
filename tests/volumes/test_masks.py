"""What a file's mask marks, whatever numbers it is written in."""

import numpy as np
import pytest
from scipy import ndimage

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_mask, read_volume
from sde_ct.volumes.masks import inside

from .test_files import save

BODY = np.zeros((12, 12, 12), bool)
BODY[3:-3, 3:-3, 2:-2] = True


def _noise(scale):
    return np.random.default_rng(0).uniform(-scale, scale, BODY.shape)


MASKS = {
    "noise": BODY + _noise(7e-15),
    "noise of float32": BODY + _noise(1e-5),
    "labels 1 and 2": BODY + 1,
    "-1 and 1": 2.0 * BODY - 1,
    "255": 255 * BODY,
    "interpolated": ndimage.shift(BODY.astype(float), (0.3, 0, 0), order=1),
    "interpolated by splines": ndimage.shift(BODY.astype(float), (0.3, 0, 0), order=3),
    "interpolated bytes": np.rint(255 * ndimage.shift(BODY.astype(float), (0.3, 0, 0), order=1)),
}


@pytest.mark.parametrize("name", MASKS)
def test_the_body_is_what_is_marked(tmp_path, name):
    path = save(tmp_path / "mask.nii.gz", MASKS[name].astype(np.float64))
    np.testing.assert_array_equal(read_volume(path, "mask").array > 0, BODY)


REFUSED = {
    "three labels": BODY + 1 * (np.arange(12) > 5) * BODY,
    "signed distance": ndimage.distance_transform_edt(BODY) - ndimage.distance_transform_edt(~BODY),
    "a CT": np.random.default_rng(0).normal(0, 100, BODY.shape),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_values_are_refused(name):
    with pytest.raises(
        InputError, match=r"m\.nii is not a mask, because its voxels hold more than two values"
    ):
        inside(REFUSED[name], "m.nii")


def test_a_mask_that_fills_the_volume_is_refused(tmp_path):
    path = save(tmp_path / "mask.nii.gz", np.ones(BODY.shape, np.uint8))
    with pytest.raises(InputError, match=r"mask.nii.gz marks every voxel: give a mask"):
        read_mask(path)
