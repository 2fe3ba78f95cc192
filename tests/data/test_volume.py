"""Turning volumes upright and back, for every orientation a scanner can choose."""

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sde_ct.data.volume import Volume, canonical, restore, same_grid

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


@given(st.floats(0, 5e-5), st.sampled_from([(0, 0), (1, 3), (2, 1)]))
def test_same_grid_tolerates_rounding_only(gap, entry):
    a = oriented((0, 1, 2), (1, 1, 1))
    affine = a.affine.copy()
    affine[entry] += gap
    assert same_grid(a, Volume(a.array, affine, "HU"))
    affine[entry] += 0.01  # 0.01 mm: beyond 1e-4 of the largest entry, 20 mm
    assert not same_grid(a, Volume(a.array, affine, "HU"))
    assert not same_grid(a, Volume(a.array[1:], a.affine, "HU"))


def test_spacing_is_the_length_of_a_voxel():
    np.testing.assert_allclose(oriented((2, 0, 1), (-1, 1, 1), 0.4).spacing, (1.0, 1.5, 3.0))
