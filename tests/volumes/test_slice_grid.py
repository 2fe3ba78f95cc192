"""Volumes -> slices -> volumes, for oblique affines, odd sizes and anisotropic voxels."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sde_ct.volumes.slice_grid import SliceGrid, from_slices, slice_grid, to_slices
from sde_ct.volumes.volume import Volume, canonical

sizes = st.tuples(*[st.integers(1, 9)] * 3)
spacings = st.tuples(*[st.floats(0.4, 5.0)] * 3)
angles = st.tuples(*[st.floats(-180, 180)] * 3)


def volume_of(shape, spacing, angle, seed=0) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angle, degrees=True).as_matrix() * spacing
    affine[:3, 3] = (-31.5, 12.25, 700.0)
    voxels = np.random.default_rng(seed).integers(-1024, 3071, shape).astype(np.float32)
    return Volume(voxels, affine, "HU")


def world(volume: Volume) -> np.ndarray:
    index = np.moveaxis(np.indices(volume.array.shape), 0, -1)
    return index @ volume.affine[:3, :3].T + volume.affine[:3, 3]


def smooth(points: np.ndarray, length: float) -> np.ndarray:
    """A field that varies over `length` mm, range 2000 HU."""
    return 1000 * np.prod(np.sin(points / length + np.array([0.3, 1.1, 2.0])), axis=-1)


@settings(deadline=None, max_examples=60)
@given(sizes, spacings, angles, st.integers(1, 8), st.integers(1, 14))
def test_native_spacing_round_trip_is_exact(shape, spacing, angle, multiple, least):
    volume = volume_of(shape, spacing, angle)
    grid = slice_grid(volume, size=(least, least), multiple=multiple)
    slices = to_slices(volume, grid, fill=-1024.0)
    height, width = slices.shape[1:]
    assert height % multiple == width % multiple == 0 and min(height, width) >= least
    back = from_slices(slices, grid)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_array_equal(back.affine, volume.affine)
    assert back.unit == "HU"
    # A view, because ten draws of a large volume take a gigabyte.
    assert np.shares_memory(back.array, slices)


@settings(deadline=None, max_examples=30)
@given(sizes, spacings, angles)
def test_slices_are_the_upright_volume_transposed(shape, spacing, angle):
    volume = volume_of(shape, spacing, angle)
    slices = to_slices(volume, slice_grid(volume))
    np.testing.assert_array_equal(slices, canonical(volume).array.transpose(2, 1, 0))


@settings(deadline=None, max_examples=40)
@given(sizes, spacings, angles, st.floats(0.3, 3.0), st.booleans())
def test_grid_survives_json(shape, spacing, angle, pixel, crop):
    volume = volume_of(shape, spacing, angle)
    grid = slice_grid(volume, spacing=(pixel, 2 * pixel), size=(5, 6), crop=crop)
    assert SliceGrid.from_json(json.loads(json.dumps(grid.to_json()))) == grid


@settings(deadline=None, max_examples=15)
@given(st.tuples(*[st.integers(24, 41)] * 2), angles, st.floats(0.6, 1.6), st.floats(0.6, 1.6))
def test_resampled_round_trip_of_a_smooth_field(plane, angle, y, x):
    volume = volume_of((*plane, 24), (1.0, 1.3, 2.0), angle)
    field = volume.with_array(smooth(world(volume), length=24.0).astype(np.float32))
    back = from_slices(to_slices(field, grid := slice_grid(field, spacing=(y, x))), grid)
    inner = (slice(3, -3),) * 3  # the edge has no neighbour to interpolate with
    # |f''| <= 1000/24² = 1.74 HU/mm². Linear interpolation errs by h²/8 |f''|: 0.87 HU over voxels
    # of 2 mm, 0.56 over pixels of 1.6 mm. The antialiasing Gaussian, at most 0.7 mm wide, adds half
    # its variance times f'': 0.43 HU. In two axes 3.7 HU.
    assert np.abs(back.array - field.array)[inner].max() < 4.0


def test_pixels_lie_where_the_spacing_says():
    """A linear ramp is reproduced by linear interpolation: each pixel tells its own place."""
    volume = volume_of((20, 17, 2), (1.0, 1.0, 3.0), (0, 0, 0))
    ramp = volume.with_array(world(volume)[..., 0].astype(np.float32))
    row = to_slices(ramp, slice_grid(ramp, spacing=(0.5, 0.5)))[0, 8]
    assert row.size == 40
    np.testing.assert_allclose(np.diff(row)[1:-1], 0.5, atol=1e-4)
    np.testing.assert_allclose(row.mean(), -31.5 + 9.5, atol=1e-4)  # about the same centre


def test_coarser_pixels_are_antialiased():
    volume = volume_of((48, 48, 1), (1, 1, 1), (0, 0, 0))
    checks = volume.with_array((np.indices((48, 48, 1)).sum(0) % 2 * 2000.0 - 1000).astype("f4"))
    slices = to_slices(checks, slice_grid(checks, spacing=(4.0, 4.0)))
    # A pattern at the Nyquist frequency; picking single voxels would give ±1000.
    assert np.abs(slices[0, 2:-2, 2:-2]).max() < 20


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(1, 12), st.integers(1, 12))
def test_cropping_keeps_the_centre_and_fills_what_it_cut(shape, height, width):
    volume = volume_of(shape, (1, 1, 1), (0, 0, 0))
    grid = slice_grid(volume, size=(height, width), crop=True)
    slices = to_slices(volume, grid, fill=-1024.0)
    assert slices.shape == (shape[2], height, width)
    back = from_slices(slices, grid, fill=-7777.0).array
    kept = back != -7777.0
    np.testing.assert_array_equal(back[kept], volume.array[kept])
    assert kept.sum() == min(shape[0], width) * min(shape[1], height) * shape[2]
    for axis, size in ((0, width), (1, height)):  # as much is cut on one side as on the other
        line = kept.any(axis=tuple({0, 1, 2} - {axis}))
        assert abs(np.argmax(line) - np.argmax(line[::-1])) <= 1, (axis, size)


def test_rounding_in_the_header_interpolates_nothing():
    volume = volume_of((6, 7, 3), (np.float32(0.98), np.float32(0.98), 5.0), (0, 0, 0))
    grid = slice_grid(volume, spacing=(0.98, 0.98))
    assert grid.size == (3, 7, 6)
    np.testing.assert_array_equal(from_slices(to_slices(volume, grid), grid).array, volume.array)


def test_slices_of_another_size_are_refused():
    grid = slice_grid(volume_of((6, 7, 3), (1, 1, 1), (0, 0, 0)))
    with pytest.raises(ValueError, match="do not fit"):
        from_slices(np.zeros((3, 6, 7)), grid)
