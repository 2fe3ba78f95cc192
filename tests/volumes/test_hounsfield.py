"""CTs that are in HU, and what is told of others."""

import numpy as np
import pytest

from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.volumes.files import read_any
from sde_ct.volumes.hounsfield import ORIGINAL, fault, offset_of

NO_NEGATIVES = (
    "it holds almost no values below -20, and its air and soft tissue are not where an offset "
    "would put them, as in an MR or in a CT that lost its negative values"
)


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


LOST = {
    "times 10": (lambda a: a * 10, "its values look like HU times 10", "divide by 10"),
    "times 10, 16 bits": (
        lambda a: np.clip(a * 10, -(2**15), 2**15 - 1),
        "its values look like HU times 10",
        "divide by 10",
    ),
    "12 bits unsigned": (
        lambda a: np.where(a < 0, a + 2**12, a),
        "its negative values are 4096 too high, as if read without a sign",
        ORIGINAL,
    ),
    "16 bits unsigned": (
        lambda a: np.where(a < 0, a + 2**16, a),
        "its negative values are 65536 too high, as if read without a sign",
        ORIGINAL,
    ),
    "no signs": (
        np.abs,
        "its negative values lost their sign: the air around it is near +1000",
        ORIGINAL,
    ),
    "cut off at 0": (lambda a: np.maximum(a, 0), NO_NEGATIVES, ORIGINAL),
}


@pytest.mark.parametrize("name", LOST)
def test_a_ct_that_lost_its_sign_or_scale_is_named(ct, name):
    """An offset of 1024 would be the wrong advice."""
    change, what, fix = LOST[name]
    changed = ct.with_array(change(ct.array))
    assert fault(changed) == (what, fix)


@pytest.mark.parametrize("scale", [0.3, 1, 2, 4])
def test_an_mr_is_not_taken_for_a_ct_with_an_offset(scale):
    """Its signal, in a.u., is spread over more than the 300 HU of soft tissue."""
    mr = pelvis_patient(3).mr
    assert fault(mr.with_array(mr.array * scale)).fix == ORIGINAL


def test_no_real_ct_is_refused(head_pair):
    """Nor is a fault of one, or an MR of any scale, called an offset."""
    volumes = {path: read_any(path) for path in head_pair.parent.rglob("ct*.nii.gz")}
    assert [path for path, ct in volumes.items() if fault(ct)] == []
    for path, ct in volumes.items():
        for change, what, _ in LOST.values():
            assert fault(ct.with_array(change(ct.array))).what == what, path
    for path in head_pair.parent.rglob("mr*.nii.gz"):
        mr = read_any(path)
        for scale in (1, 4, 8, 16):
            assert fault(mr.with_array(mr.array * scale)).fix == ORIGINAL, path
