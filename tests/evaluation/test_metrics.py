"""Metrics against hand computation, plain loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from sde_ct.errors import InputError
from sde_ct.evaluation import metrics

VOLUMES = arrays(np.float32, (3, 4, 2), elements=st.floats(-1000, 2000, width=32))
LOW, HIGH = -1000.0, 2000.0


def _pair(shape=(16, 14, 3), seed=0):
    rng = np.random.default_rng(seed)
    ct = rng.normal(0, 300, shape)
    mask = np.zeros(shape, bool)
    mask[2:-2, 3:-1, 1:] = True
    return ct, ct + rng.normal(20, 80, shape), mask


def test_errors_by_hand():
    ct = np.array([-1000.0, -300, 0, 50, 400, 900]).reshape(1, 6, 1)
    sct = np.array([500.0, -200, 10, 20, 300, 1300]).reshape(1, 6, 1)
    mask = np.array([0, 1, 1, 1, 1, 1]).reshape(1, 6, 1)  # the first voxel is outside
    assert metrics.mae(ct, sct, mask) == (100 + 10 + 30 + 100 + 400) / 5
    assert metrics.mean_error(ct, sct, mask) == (100 + 10 - 30 - 100 + 400) / 5
    tissues = ("air", "soft", "bone")
    assert [metrics.mae(ct, sct, mask, t) for t in tissues] == [100, 20, 250]
    assert [metrics.mean_error(ct, sct, mask, t) for t in tissues] == [100, -10, 150]
    assert metrics.large_error_share(ct, sct, mask) == 1 / 5
    assert np.isnan(metrics.mae(ct, sct, ct == 0, "bone"))


@given(VOLUMES, VOLUMES)
@settings(max_examples=30, deadline=None)
def test_errors_are_symmetric(a, b):
    mask = np.ones(a.shape, bool)
    assert metrics.mae(a, b, mask) == metrics.mae(b, a, mask)
    assert metrics.mean_error(a, b, mask) == -metrics.mean_error(b, a, mask)
    assert abs(metrics.mean_error(a, b, mask)) <= metrics.mae(a, b, mask) + 1e-9


@given(st.floats(0.5, 900), st.floats(500, 4000))
@settings(max_examples=30, deadline=None)
def test_psnr_of_a_constant_error(error, width):
    ct = np.zeros((4, 4, 2))
    sct = ct + min(error, width / 2)
    expected = 20 * np.log10(width / min(error, width / 2))
    assert metrics.psnr(ct, sct, ct == 0, -width / 2, width / 2) == pytest.approx(expected)


def test_psnr_clips_first_and_is_infinite_for_equal_images():
    ct, sct, mask = np.full((2, 2, 1), 2500.0), np.full((2, 2, 1), 19000.0), np.ones((2, 2, 1))
    assert metrics.psnr(ct, sct, mask, LOW, HIGH) == float("inf")
    assert metrics.mae(ct, sct, mask) == 16500  # and the error in HU does not clip


def _ssim_at(a, b, i, j, weights, q, sample):
    """SSIM of one voxel by its definition; borders mirrored with the edge voxel repeated."""
    half = len(weights) // 2
    window = np.outer(weights, weights)
    x, y = (
        np.pad(v, half, mode="symmetric")[i : i + 2 * half + 1, j : j + 2 * half + 1]
        for v in (a, b)
    )
    mx, my = (window * x).sum(), (window * y).sum()
    n = window.size
    factor = n / (n - 1) if sample else 1.0
    vx = factor * ((window * x * x).sum() - mx**2)
    vy = factor * ((window * y * y).sum() - my**2)
    vxy = factor * ((window * x * y).sum() - mx * my)
    c1, c2 = (0.01 * q) ** 2, (0.03 * q) ** 2
    return (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))


@pytest.mark.parametrize("window", ["uniform", "gaussian"])
def test_ssim_against_plain_loops(window):
    ct, sct, mask = _pair()
    weights = np.full(7, 1 / 7)
    if window == "gaussian":
        weights = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
        weights /= weights.sum()
    a, b = (np.where(mask, np.clip(v, LOW, HIGH) - LOW, 0) for v in (ct, sct))
    expected = [
        _ssim_at(a[..., k], b[..., k], i, j, weights, HIGH - LOW, window == "uniform")
        for i, j, k in np.argwhere(mask)
    ]
    # 1e-9: both are double precision, only the order of sums differs.
    assert metrics.ssim_slices(ct, sct, mask, LOW, HIGH, window) == pytest.approx(
        np.mean(expected), abs=1e-9
    )


def test_ssim_sees_the_body_alone_and_slices_apart():
    ct, sct, mask = _pair()
    value = metrics.ssim_slices(ct, sct, mask, LOW, HIGH)
    outside = np.where(mask, sct, 777.0)
    assert metrics.ssim_slices(ct, outside, mask, LOW, HIGH) == value
    single = [
        metrics.ssim_slices(*(v[..., [k]] for v in (ct, sct, mask)), LOW, HIGH) for k in (1, 2)
    ]
    assert value == pytest.approx(np.mean(single), abs=1e-12)  # equal numbers of voxels
    assert metrics.ssim_slices(ct, ct, mask, LOW, HIGH) == pytest.approx(1, abs=1e-12)


def test_a_small_shift_around_water_hardly_moves_ssim():
    ct = np.zeros((12, 12, 1))
    mask = np.ones(ct.shape, bool)
    # Luminance of means 1000 and 1030 above air: (2·1000·1030 + 900) / (1000² + 1030² + 900).
    expected = (2 * 1000 * 1030 + 900) / (1000**2 + 1030**2 + 900)
    assert metrics.ssim_slices(ct, ct + 30, mask, LOW, HIGH) == pytest.approx(expected, abs=1e-9)


def test_detail_of_blurred_and_of_noisy_images():
    rng = np.random.default_rng(0)
    ct = rng.normal(0, 100, (40, 40, 2))
    mask = np.zeros(ct.shape, bool)
    mask[4:-4, 4:-4] = True
    assert metrics.detail_ratio(ct, ct, mask) == 1
    blurred = ndimage.gaussian_filter(ct, 1.0, axes=(0, 1))
    assert metrics.detail_ratio(ct, blurred, mask) < 0.2
    # Independent noise of the same power doubles the energy, up to its chance correlation with
    # the CT, about 2/√(26·26·2) = 0.05.
    noisy = ct + rng.normal(0, 100, ct.shape)
    assert metrics.detail_ratio(ct, noisy, mask) == pytest.approx(2, abs=0.2)
    # Half the amplitude is a quarter of the energy, but for the tail of the Gaussian (exp(-8) at
    # its fourth and last voxel) that reaches the air outside the peeled mask.
    assert metrics.detail_ratio(ct, 0.5 * ct, mask) == pytest.approx(0.25, abs=1e-4)
    assert np.isnan(metrics.detail_ratio(ct, ct, np.eye(40)[..., None].repeat(2, -1)))


def test_histogram_distance_by_hand():
    ct = np.array([0.0, 100, 200, 300, 9999]).reshape(5, 1, 1)
    mask = np.array([1, 1, 1, 1, 0]).reshape(5, 1, 1)
    assert metrics.histogram_distance(ct, ct[[3, 2, 1, 0, 4]], mask) == 0  # another order
    # Sorted: 0, 100, 200, 300 against 40, 100, 210, 500: 40 + 0 + 10 + 200.
    sct = np.array([210.0, 500, 100, 40, 0]).reshape(5, 1, 1)
    assert metrics.histogram_distance(ct, sct, mask) == pytest.approx(250 / 4)


@given(VOLUMES, VOLUMES)
@settings(max_examples=30, deadline=None)
def test_histogram_distance_never_exceeds_the_mae(a, b):
    mask = np.ones(a.shape, bool)
    # 1e-3 HU: values of 2000 in single precision, integrated as a difference of distributions.
    assert metrics.histogram_distance(a, b, mask) <= metrics.mae(a, b, mask) + 1e-3


def test_through_plane_change_by_hand():
    ct = np.array([0.0, 100, 50, 0]).reshape(1, 1, 4)
    mask = np.array([1, 1, 1, 0]).reshape(1, 1, 4)
    sct = np.array([0.0, 300, 0, 700]).reshape(1, 1, 4)
    assert metrics.through_plane(ct, sct, mask) == (300 + 300) / (100 + 50)
    assert metrics.through_plane(ct, ct + 80, mask) == 1  # a shift of all slices is consistent
    flicker = ct + np.array([40.0, -40, 40, -40])  # 20 up, 30 up: from (0, 100, 50) to (40, 60, 90)
    assert metrics.through_plane(ct, flicker, mask) == (20 + 30) / 150
    assert np.isnan(metrics.through_plane(ct[..., :1], sct[..., :1], mask[..., :1]))
    implant = np.where(mask, [0.0, 2000, 19000, 0], 0)
    assert metrics.through_plane(implant, ct, mask) == 150 / 2000  # clipped first


BAD = {
    "shape": (np.zeros((8, 8, 1)), np.zeros((8, 8, 2)), np.ones((8, 8, 2)), "reference CT"),
    "mask shape": (np.zeros((8, 8, 2)), np.zeros((8, 8, 2)), np.ones((8, 8, 1)), "mask has shape"),
    "empty": (np.zeros((8, 8, 2)), np.zeros((8, 8, 2)), np.zeros((8, 8, 2)), "mask is empty"),
    "nan": (np.zeros((8, 8, 2)), np.full((8, 8, 2), np.nan), np.ones((8, 8, 2)), "prediction hol"),
}


@pytest.mark.parametrize("ct, sct, mask, words", BAD.values(), ids=BAD)
def test_refusals(ct, sct, mask, words):
    for metric in (
        *(metrics.mae, metrics.mean_error, metrics.large_error_share, metrics.detail_ratio),
        *(metrics.histogram_distance, metrics.through_plane),
    ):
        with pytest.raises(InputError, match=words):
            metric(ct, sct, mask)
    for metric in (metrics.psnr, metrics.ssim_slices):
        with pytest.raises(InputError, match=words):
            metric(ct, sct, mask, LOW, HIGH)


def test_non_finite_voxels_outside_the_mask_do_not_count():
    ct, sct, mask = _pair()
    holed = np.where(mask, sct, np.nan)
    assert metrics.mae(ct, holed, mask) == metrics.mae(ct, sct, mask)
    assert metrics.ssim_slices(ct, holed, mask, LOW, HIGH) == metrics.ssim_slices(
        ct, sct, mask, LOW, HIGH
    )
    for metric in (metrics.detail_ratio, metrics.histogram_distance, metrics.through_plane):
        assert metric(ct, holed, mask) == metric(ct, sct, mask)


def test_a_slice_smaller_than_the_window_is_refused():
    ct = np.zeros((6, 9, 1))
    with pytest.raises(InputError, match="7 x 7"):
        metrics.ssim_slices(ct, ct, ct == 0, LOW, HIGH)
