"""CTs that are in HU, and what is told of others."""

import numpy as np
import pytest

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.hounsfield import fault, offset_of


@pytest.fixture(scope="module")
def ct():
    """Its air is noisy, about -1000 HU."""
    return pelvis_patient(3).ct


@pytest.mark.parametrize("offset", [1024, 1000])
@pytest.mark.parametrize("padding", [None, -2000, -3024])
def test_an_offset_is_found_whatever_the_padding(ct, offset, padding):
    """Stored unsigned: what would be below 0 is 0."""
    array = np.maximum(ct.array + offset, 0)
    if padding:
        x, y, _ = np.indices(array.shape)
        array = np.where((x - 31.5) ** 2 + (y - 23.5) ** 2 <= 30**2, array, padding)
    assert offset_of(ct.with_array(array)) == offset
    assert fault(ct.with_array(array)) == (
        f"its units look like HU + {offset}",
        f"subtract {offset}",
    )


def test_what_is_in_hu_has_no_fault(ct):
    """Padded, masked, cut off below, and of a body without air around it."""
    body = ct.array > -400
    for array in (
        ct.array,
        np.where(body, ct.array, -1024),
        np.where(body, ct.array, -3024),  # no air is left
        np.maximum(ct.array, -1000),
        ct.array[16:48, 16:32],
    ):
        assert fault(ct.with_array(array)) is None and offset_of(ct.with_array(array)) == 0


def test_neither_air_nor_soft_tissue_in_its_place_is_no_ct(ct):
    found = fault(ct.with_array(np.where(ct.array > -400, ct.array + 500, -300)))
    assert found.what == "it holds no air below -850 HU and no peak of soft tissue near 0 HU"


@pytest.mark.parametrize("offset", [1000, 1024, -1000, -1024])
@pytest.mark.parametrize("share", [0, 1e-5, 4e-3])
def test_extreme_voxels_do_not_hide_an_offset(ct, offset, share):
    """One voxel, or 4 in 1000, at either end of the range: the peaks decide."""
    array = ct.array + offset
    count = int(np.ceil(share * array.size / 2)) if share else 0
    places = np.random.default_rng(0).permutation(array.size)
    array.flat[places[:count]], array.flat[places[count : 2 * count]] = -1500, 3000
    assert offset_of(ct.with_array(array)) == offset
    sign, fix = ("+", "subtract") if offset > 0 else ("-", "add")
    size = abs(offset)
    assert fault(ct.with_array(array)) == (
        f"its units look like HU {sign} {size}",
        f"{fix} {size}",
    )


@pytest.mark.parametrize("background", [0, -1000])
def test_a_padding_value_does_not_hide_an_offset(ct, background):
    """A resampler's fill of 0 or -1000 around a CT that is stored as HU + 1024."""
    ring = np.ones(ct.array.shape, bool)
    ring[4:-4, 4:-4] = False
    shifted = np.where(ring, background, ct.array + 1024)
    assert offset_of(ct.with_array(shifted)) == 1024
    assert offset_of(ct.with_array(np.where(ring, background, ct.array))) == 0
