"""Intensity maps and their inverses."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sde_ct.data.intensity import (
    PERCENTILES,
    HUWindow,
    Intensity,
    RobustMR,
    SliceMinMax,
    body_percentiles,
)
from sde_ct.errors import InputError

hus = arrays(np.int16, (3, 4, 5), elements=st.integers(-1024, 19002))
windows = st.tuples(st.floats(-1100, 0), st.floats(100, 3000))


@given(hus, windows)
def test_window_inverts_inside_and_clips_outside(hu, window):
    low, high = window
    ct = HUWindow(low, high)
    x = ct.to_model(hu)
    assert x.dtype == np.float32 and np.abs(x).max() <= 1
    # float32 on a span of up to 4100 HU: 4100 · 2^-23, a few roundings.
    np.testing.assert_allclose(ct.to_hu(x), np.clip(hu, low, high), atol=2e-3)


def test_window_ends_and_centre():
    np.testing.assert_array_equal(HUWindow().to_model(np.array([-1000, 500, 2000])), [-1, 0, 1])
    np.testing.assert_array_equal(HUWindow().to_model(np.array([-3024, 19002])), [-1, 1])


@given(arrays(np.float32, (4, 5, 6), elements=st.floats(0, 1000, width=32)), st.floats(0.01, 50))
def test_robust_scaling_ignores_the_scanners_gain(mr, gain):
    mask = np.ones(mr.shape, np.uint8)
    if np.ptp(mr) < 1:
        mr[0, 0, 0] += 10
    scaled = [
        RobustMR().to_model(v, body_percentiles(v, mask)) for v in (mr, mr * np.float32(gain))
    ]
    assert np.abs(scaled[0]).max() <= 1
    # Rounding of a value against a span that outliers cannot make small: the percentiles
    # of 120 voxels lie 0.6 voxels inside the extremes.
    np.testing.assert_allclose(scaled[0], scaled[1], atol=1e-3)


def test_robust_scaling_looks_at_the_body_only_and_air_is_near_minus_one():
    rng = np.random.default_rng(0)
    mr = rng.normal(400, 80, (20, 20, 20)).astype(np.float32)
    mask = np.zeros(mr.shape, np.uint8)
    mask[4:16, 4:16] = 1
    mr[mask == 0] = rng.rayleigh(5, (mask == 0).sum())
    mr[6, 6] = 3.0  # bone and gas inside the body
    mr[0, 0, 0] = 1e6  # a spike outside
    x = RobustMR().to_model(mr, body_percentiles(mr, mask))
    assert x[mask == 0].mean() < -0.95
    body = x[(mask == 1) & (mr > 100)]
    assert -0.1 < body.mean() < 0.6 and body.std() > 0.1


def test_body_percentiles_are_numpys():
    mr = np.arange(1001.0).reshape(7, 11, 13)
    table = body_percentiles(mr, np.ones(mr.shape, np.uint8))
    assert tuple(table) == PERCENTILES
    assert table[0.5] == 5.0 and table[50.0] == 500.0 and table[99.5] == 995.0


@given(hus)
def test_slice_min_max_fills_the_range_of_each_slice(hu):
    x = SliceMinMax().to_model(hu)
    for before, after in zip(hu, x, strict=True):
        if np.ptp(before):
            assert (after.min(), after.max()) == (0, 1)
            expected = (before - float(before.min())) / np.ptp(before.astype(float))
            np.testing.assert_allclose(after, expected, atol=1e-6)
        else:
            np.testing.assert_array_equal(after, 0)


def test_slice_min_max_inverts_only_slices_of_the_median_range():
    ct = SliceMinMax(-1000, 1400)
    hu = np.array([[[-1000, 200, 1400]], [[-1000, 100, 1200]]])
    back = ct.to_hu(ct.to_model(hu))
    np.testing.assert_allclose(back[0], hu[0], atol=1e-3)
    np.testing.assert_allclose(back[1], [[-1000, 200, 1400]], atol=1e-3)


@pytest.mark.parametrize(
    "maps",
    [
        Intensity(),
        Intensity(RobustMR(1.0, 99.9), HUWindow(-1024, 3071)),
        Intensity(SliceMinMax(), SliceMinMax(-987.5, 1432.0)),
    ],
)
def test_maps_survive_json(maps):
    assert Intensity.from_json(json.loads(json.dumps(maps.to_json()))) == maps


BAD = {
    "reversed window": lambda: HUWindow(2000, -1000),
    "not a number": lambda: HUWindow(float("nan"), 1000),
    "unrecorded": lambda: RobustMR(0.3, 99.5),
    "reversed percentiles": lambda: RobustMR(99.5, 0.5),
    "no maps": lambda: Intensity.from_json({}),
    "unknown map": lambda: Intensity.from_json({"mr": {"kind": "z"}, "ct": {"kind": "z"}}),
    "unknown field": lambda: Intensity.from_json(
        {"mr": {"kind": "robust"}, "ct": {"kind": "hu_window", "lo": 1}}
    ),
    "swapped": lambda: Intensity.from_json({"mr": {"kind": "hu_window"}, "ct": {"kind": "robust"}}),
}


@pytest.mark.parametrize("case", BAD)
def test_unusable_maps_are_refused(case):
    with pytest.raises(InputError):
        BAD[case]()
