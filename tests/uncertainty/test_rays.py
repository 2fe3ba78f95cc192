"""Rays: where they come from, and that no voxel's share of them is lost or counted twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sde_ct.errors import InputError
from sde_ct.uncertainty.rays import Rays, ray_matrix, rays_to, target_points

SHAPE = (21, 25, 5)
PLACE = np.diag([4.0, 3.0, 5.0, 1.0])
PLACE[:3, 3] = -40.0, -36.0, -10.0  # the centre of the image lies at 0 mm
CENTRE = np.zeros((1, 3))


@pytest.mark.parametrize(
    ("gantry", "side"),
    [(0, "anterior"), (90, "left"), (180, "posterior"), (270, "right"), (-90, "right")],
)
def test_the_beam_comes_from_the_side_of_its_gantry_angle(gantry, side):
    """Of four boxes about the target, the ray crosses one; x runs to the right, y to anterior."""
    boxes = {
        "right": np.s_[18, 10:15, :], "left": np.s_[2, 10:15, :],
        "anterior": np.s_[8:13, 20, :], "posterior": np.s_[8:13, 4, :],
    }  # fmt: skip
    matrix = ray_matrix(rays_to(CENTRE, [gantry], PLACE, SHAPE), PLACE, SHAPE)
    crossed = []
    for name, box in boxes.items():
        image = np.zeros(SHAPE)
        image[box] = 1
        if (matrix @ image.ravel())[0] > 0:
            crossed.append(name)
    assert crossed == [side]


def test_rays_of_an_angle_diverge_from_one_source():
    points = np.array([[0.0, 0, 0], [10, 0, 0], [0, 0, 10]])
    rays = rays_to(points, [0, 30], PLACE, SHAPE)
    assert rays.gantry.tolist() == [0, 0, 0, 30, 30, 30]
    np.testing.assert_allclose(rays.starts[:3], [[0, 1000, 0]] * 3, atol=1e-9)
    np.testing.assert_allclose(rays.starts[3:], [[-500, 500 * np.sqrt(3), 0]] * 3, atol=1e-9)
    np.testing.assert_array_equal(rays.ends, np.tile(points, (2, 1)))
    far = rays_to(points, [0], PLACE, SHAPE, distance=2500)
    np.testing.assert_allclose(far.starts, [[0, 2500, 0]] * 3, atol=1e-9)


def test_a_targets_points_are_its_centre_and_its_surface():
    target = np.zeros((9, 9, 9), np.uint8)
    target[2:7, 2:7, 2:7] = 1
    points = target_points(target, np.eye(4), most=1000)
    assert points[0].tolist() == [4, 4, 4]
    assert len(points) == 1 + 5**3 - 3**3
    assert {tuple(p) for p in points[1:]} < {tuple(p) for p in np.argwhere(target)}
    thinned = target_points(target, np.eye(4), most=10)
    assert len(thinned) == 11 and {tuple(p) for p in thinned} <= {tuple(p) for p in points}
    placed = target_points(target, PLACE, most=10)
    np.testing.assert_allclose(placed, thinned * [4, 3, 5] + PLACE[:3, 3])


def test_the_centre_of_a_ring_lies_in_the_ring():
    x, y = np.meshgrid(np.arange(21) - 10, np.arange(21) - 10, indexing="ij")
    radius = np.hypot(x, y)[..., None]
    ring = (radius > 6) & (radius < 9)
    x, y, z = target_points(ring, np.eye(4))[0].astype(int)
    assert ring[x, y, z]


def _place(angles, spacing, flip):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine[:3, :3] *= np.array(spacing) * (1, -1 if flip else 1, 1)
    affine[:3, 3] = 7.0, -3.0, 11.0
    return affine


def _length_inside(start, end, affine, shape):
    """The length in the image, by clipping the ray to one pair of faces after another."""
    a, b = (np.linalg.solve(affine, [*p, 1.0])[:3] for p in (start, end))
    low, high = 0.0, 1.0
    for from_, to, size in zip(a, b, shape, strict=True):
        if from_ == to:
            if not -0.5 <= from_ < size - 0.5:
                return 0.0
            continue
        cuts = sorted([(-0.5 - from_) / (to - from_), (size - 0.5 - from_) / (to - from_)])
        low, high = max(low, cuts[0]), min(high, cuts[1])
    return max(0.0, high - low) * float(np.linalg.norm(np.subtract(end, start)))


COORDINATE = st.floats(-60, 60, allow_subnormal=False)
POINT = st.tuples(COORDINATE, COORDINATE, COORDINATE)


@settings(deadline=None, max_examples=100)
@given(
    ends=st.tuples(POINT, POINT),
    angles=st.tuples(*[st.sampled_from([0.0, 90.0, 3.7, -41.0])] * 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 3.3])] * 3),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    flip=st.booleans(),
)
def test_the_voxels_of_a_ray_add_up_to_its_length_in_the_image(ends, angles, spacing, shape, flip):
    affine = _place(angles, spacing, flip)
    rays = Rays(np.zeros(1), np.array(ends[:1]), np.array(ends[1:]))
    matrix = ray_matrix(rays, affine, shape)
    right = _length_inside(*ends, affine, shape)
    # 1e-6 mm: a ray that grazes a face is in or out of the image by rounding of its end points.
    assert matrix.sum() == pytest.approx(right, abs=1e-6)
    assert (matrix.data > 0).all() and len(set(matrix.indices)) == matrix.nnz
    assert matrix.nnz == 0 or matrix.data.max() <= np.linalg.norm(spacing) + 1e-9


def test_the_integral_is_that_of_densely_sampled_voxels():
    rng = np.random.default_rng(0)
    affine, image = _place((10, 20, 30), (2, 1, 3), True), rng.uniform(0, 2, (12, 9, 7))
    end = rng.uniform(0, image.shape, (30, 3)) @ affine[:3, :3].T + affine[:3, 3]
    start = end + rng.uniform(-60, 60, (30, 3))
    matrix = ray_matrix(Rays(np.zeros(30), start, end), affine, image.shape)
    samples = 20000
    share = (np.arange(samples) + 0.5) / samples
    points = start[:, None] + share[:, None] * (end - start)[:, None]
    index = np.rint((points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T).astype(int)
    inside = ((index >= 0) & (index < image.shape)).all(axis=-1)
    values = image[tuple(np.moveaxis(np.where(inside[..., None], index, 0), -1, 0))] * inside
    right = values.mean(axis=1) * np.linalg.norm(end - start, axis=1)
    assert (right > 5).sum() > 10
    # Samples lie 0.005 mm apart at most. Each of at most 28 faces is placed to half of it, and
    # values differ by less than 2 across a face.
    assert matrix @ image.ravel() == pytest.approx(right, abs=28 * 0.0025 * 2)


def test_many_rays_are_cut_as_each_alone(monkeypatch):
    rng = np.random.default_rng(1)
    rays = Rays(np.zeros(9), *rng.uniform(-60, 60, (2, 9, 3)))
    whole = ray_matrix(rays, PLACE, SHAPE).toarray()
    monkeypatch.setitem(ray_matrix.__globals__, "AT_ONCE", 2)
    np.testing.assert_array_equal(ray_matrix(rays, PLACE, SHAPE).toarray(), whole)


def test_a_ray_along_a_face_is_in_one_voxel_only():
    start, end = np.array([[0.5, 9.0, 0.0]]), np.array([[0.5, -9.0, 0.0]])
    matrix = ray_matrix(Rays(np.zeros(1), start, end), np.eye(4), (3, 2, 1))
    np.testing.assert_allclose(matrix.toarray().reshape(3, 2), [[0, 0], [1, 1], [0, 0]])


def test_voxels_that_do_not_count_are_left_out():
    rays = rays_to(CENTRE, [180], PLACE, SHAPE)
    body = np.ones(SHAPE, bool)
    body[:, :3] = False  # a couch, 9 mm thick at the image's posterior edge
    whole, part = (ray_matrix(rays, PLACE, SHAPE, within=w).sum() for w in (None, body))
    assert whole == pytest.approx(37.5) and part == pytest.approx(28.5)


REFUSED = {
    "nan": (CENTRE, [0, float("nan")], {}, "The gantry angles are .*in degrees"),
    "no angle": (CENTRE, [], {}, "The gantry angles are .*in degrees"),
    "outside": (np.array([[0.0, 100, 0]]), [0], {}, "1 of 1 points of the target lie outside"),
    "nan point": (CENTRE * np.nan, [0], {}, "1 of 1 points of the target lie outside"),
    "no point": (np.zeros((0, 3)), [0], {}, "0 of 0 points"),
    "near": (CENTRE, [0], {"distance": 30.0}, "30 mm from the target does not lie outside"),
    "negative": (CENTRE, [0], {"distance": -900.0}, "give a longer distance"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rays_that_cannot_be_are_refused(name):
    points, gantry, options, sentence = REFUSED[name]
    with pytest.raises(InputError, match=sentence):
        rays_to(points, gantry, PLACE, SHAPE, **options)


def test_bad_masks_are_refused():
    with pytest.raises(InputError, match="The target is empty"):
        target_points(np.zeros(SHAPE), PLACE)
    rays = rays_to(CENTRE, [0], PLACE, SHAPE)
    with pytest.raises(InputError, match=r"has shape \(2, 2, 2\) and the image \(21, 25, 5\)"):
        ray_matrix(rays, PLACE, SHAPE, within=np.ones((2, 2, 2), bool))


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_targets_points_do_not_depend_on_the_order_of_voxels_in_the_file(flips):
    """Four voxels are equally near to the middle of this target, and its surface is thinned."""
    target = np.zeros((9, 9, 6), np.uint8)
    target[2:6, 2:6, 2:4] = 1
    turn = np.eye(4)
    for axis in flips:
        turn[axis, axis], turn[axis, 3] = -1, target.shape[axis] - 1
    here = target_points(target, PLACE, most=10)
    np.testing.assert_allclose(target_points(np.flip(target, flips), PLACE @ turn, most=10), here)
    swapped = target_points(target.transpose(1, 0, 2), PLACE[:, [1, 0, 2, 3]], most=10)
    np.testing.assert_allclose(swapped, here)
