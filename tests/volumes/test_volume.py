"""Turning volumes upright and back, for every orientation a scanner can choose."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sde_ct.volumes.volume import (
    Volume,
    canonical,
    left_posterior_superior,
    reordered,
    restore,
    same_grid,
)

SHAPE = (3, 4, 5)
ORIENTATIONS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def oriented(axes, signs, tilt=0.0) -> Volume:
    """A volume whose array axis i points along world axis axes[i], forwards or backwards."""
    spacing = (1.0, 1.5, 3.0)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for i, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, i] = sign * spacing[i]
    c, s = np.cos(tilt), np.sin(tilt)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ affine[:3, :3]
    affine[:3, 3] = (10.0, -20.0, 5.0)
    return Volume(np.arange(60, dtype=np.float32).reshape(SHAPE), affine, "a.u.")


def world_of(volume: Volume) -> dict[float, tuple[float, ...]]:
    """Voxel value -> its place in the patient."""
    index = np.indices(volume.array.shape).reshape(3, -1)
    place = volume.affine[:3, :3] @ index + volume.affine[:3, 3:]
    return {v: tuple(np.round(p, 6)) for v, p in zip(volume.array.ravel(), place.T, strict=True)}


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
def test_canonical_keeps_every_voxel_in_its_place_and_restore_undoes_it(axes, signs, tilt):
    volume = oriented(axes, signs, tilt)
    upright = canonical(volume)
    assert (np.diag(upright.affine)[:3] > 0).all()
    assert world_of(upright) == world_of(volume)
    back = restore(upright, volume)
    np.testing.assert_array_equal(back.array, volume.array)
    np.testing.assert_array_equal(back.affine, volume.affine)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_turned_to_left_posterior_superior_every_voxel_keeps_its_place(axes, signs):
    volume = oriented(axes, signs, tilt=0.3)
    turned = left_posterior_superior(volume)
    assert (np.diag(turned.affine)[:3] * [-1, -1, 1] > 0).all()
    assert world_of(turned) == world_of(volume)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
@pytest.mark.parametrize("tilt", [0.0, np.pi / 4])
def test_volumes_of_one_grid_in_two_orders_of_voxels_are_made_alike(axes, signs, tilt):
    """Also at 45 degrees, where two axes lie equally close to right and anterior."""
    one = oriented((0, 1, 2), (-1, -1, 1), tilt)
    flips = [slice(None, None, sign) for sign in signs]
    turned = one.array.transpose(axes)[tuple(flips)]
    step = np.eye(4)[:, [*axes, 3]] * [*signs, 1]
    for i, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        step[axis, 3] = 0 if sign > 0 else turned.shape[i] - 1
    other = Volume(turned, one.affine @ step + 1e-5, "HU")  # rounding in a file's header
    assert world_of(Volume(turned, one.affine @ step, "HU")) == world_of(one)
    back = reordered(other, one.affine)
    assert same_grid(back, one)
    np.testing.assert_array_equal(back.array, one.array)


def scanned(spacing=(0.875, 0.875, 2.5), turned=0.0, origin=(-240.0, -240.0, -900.0)) -> Volume:
    """A pelvis as scanners store it, 447 x 447 x 208 mm, far from the origin along z."""
    c, s = np.cos(turned), np.sin(turned)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = origin
    return Volume(np.broadcast_to(np.uint8(0), (512, 512, 84)), affine, "mask")


@given(
    st.lists(st.floats(-1e-4, 1e-4), min_size=9, max_size=9),
    st.lists(st.floats(-0.005, 0.005), min_size=3, max_size=3),
)
def test_headers_rounded_to_four_digits_tell_the_same_grid(cosines, places):
    """Cosines and mm: the far corner is then off by 0.2 mm at most."""
    a = scanned()
    affine = a.affine.copy()
    affine[:3, :3] += np.reshape(cosines, (3, 3)) * a.spacing
    affine[:3, 3] += places
    assert same_grid(a, Volume(a.array, affine, "HU"))


@pytest.mark.parametrize(
    ("change", "corner"),
    [
        ({"spacing": (0.95, 0.95, 2.5)}, 54.2),
        ({"spacing": (0.876, 0.876, 2.5)}, 0.72),
        ({"spacing": (0.875, 0.875, 2.58)}, 6.6),
        ({"turned": 0.001}, 0.63),
        ({"origin": (-240.0, -240.0, -900.44)}, 0.44),  # half a pixel
    ],
)
def test_a_grid_elsewhere_is_another_however_far_the_origin(change, corner):
    """The distance of the farthest corner, mm, worked out by hand."""
    a, b = scanned(), scanned(**change)
    last = np.array([*(n - 1 for n in a.array.shape), 1])
    assert np.linalg.norm((b.affine - a.affine) @ last) == pytest.approx(corner, rel=0.02)
    assert not same_grid(a, b) and not same_grid(b, a)


def test_another_shape_is_another_grid():
    a = scanned()
    assert not same_grid(a, Volume(a.array[1:], a.affine, "mask"))


def test_spacing_is_the_length_of_a_voxel():
    np.testing.assert_allclose(oriented((2, 0, 1), (-1, 1, 1), 0.4).spacing, (1.0, 1.5, 3.0))
