"""Path lengths against closed forms, in millimetres of water."""

import tracemalloc

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sde_ct.errors import InputError
from sde_ct.uncertainty.path_length import path_lengths, range_figures
from sde_ct.uncertainty.rays import Rays, ray_matrix, rays_to, target_points
from sde_ct.uncertainty.stopping_power import PYRADPLAN, StoppingPower
from sde_ct.volumes.volume import Volume, reordered

TABLE = StoppingPower("test", (-1000, 0, 1000), (0, 1, 1.5))
SHAPE, SPACING = (60, 50, 30), np.array([2.0, 3.0, 4.0])
PLACE = np.diag([*SPACING, 1.0])
PLACE[:3, 3] = -71.0, 13.0, 40.0
TARGET = np.array([[30, 20, 15]])  # a voxel
GANTRY = (0, 90, 180, 270)
# Voxels of tissue, 0 HU, and of bone, 600 HU, between the target and each side of the image.
DEPTHS = {0: (25, 3), 90: (24, 5), 180: (16, 2), 270: (20, 4)}


def _boxes():
    """Nested boxes along the voxels: air, tissue, and a shell of bone, of other depth per side."""
    ct = np.full(SHAPE, -1000.0)
    x, y, _ = TARGET[0]
    reach = {g: tissue + bone for g, (tissue, bone) in DEPTHS.items()}
    ct[x - reach[90] : x + reach[270] + 1, y - reach[180] : y + reach[0] + 1] = 600
    ct[x - 24 : x + 21, y - 16 : y + 26] = 0
    return ct


def _right(gantry):
    """Half of the target's voxel, its tissue, and its bone with 1.3 of water's stopping power."""
    tissue, bone = DEPTHS[gantry]
    return SPACING[1 if gantry in (0, 180) else 0] * (0.5 + tissue + 1.3 * bone)


def _centre():
    return TARGET * SPACING + PLACE[:3, 3]


def _with_another(*offset):
    """The centre of the target and a point beside it, RAS mm."""
    return np.concatenate([_centre(), np.add(_centre(), offset)])


def _through(points, volume, gantry=GANTRY):
    grid = volume.affine, volume.array.shape
    matrix = ray_matrix(rays_to(points, gantry, *grid), *grid)
    return path_lengths([volume.array], matrix, TABLE)[0]


def test_boxes_along_the_voxels_have_their_exact_length():
    lengths = _through(_centre(), Volume(_boxes(), PLACE, "HU"))
    # Only rounding is left: some 1e-13 of a ray of 1000 mm.
    assert lengths == pytest.approx([_right(g) for g in GANTRY], abs=1e-9)
    assert len({round(v, 6) for v in lengths}) == 4


def test_a_divergent_ray_crosses_boxes_aslant():
    """A point 14 mm beside the isocentre and 20 mm below it, at 1000 mm from the source."""
    points = _with_another(14, 0, -20)
    lengths = _through(points, Volume(_boxes(), PLACE, "HU"), [0])
    slant = np.hypot(1000, np.hypot(14, 20)) / 1000
    assert lengths == pytest.approx([_right(0), _right(0) * slant], abs=1e-9)


@pytest.mark.parametrize("order", [(-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_the_order_of_voxels_in_memory_changes_nothing(order, axes):
    """LPS as DICOM's, sagittal and coronal volumes: the same voxels of the same patient."""
    other = np.eye(4)
    other[:3, :3] = np.diag(order)[:, axes]
    volume = Volume(_boxes(), PLACE, "HU")
    turned = reordered(volume, other)
    assert turned.array.shape == tuple(np.array(SHAPE)[list(axes)])
    points = _with_another(7, 5, 3)
    # 1e-9 as above: the sums are the same but for their order.
    assert _through(points, turned) == pytest.approx(_through(points, volume), abs=1e-9)


@pytest.mark.parametrize("angle", [0.0, 17.0, 90.0, -33.0])
def test_a_turned_patient_is_a_turned_gantry(angle):
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    points = _with_another(7, 5, 3)
    turned = Volume(_boxes(), turn @ PLACE, "HU")
    lengths = _through(points @ turn[:3, :3].T, turned, [g + angle for g in (10, 130, 250)])
    upright = _through(points, Volume(_boxes(), PLACE, "HU"), [10, 130, 250])
    assert lengths == pytest.approx(upright, abs=1e-9)


def test_rays_through_an_oblique_volume():
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (20, -30, 40), degrees=True).as_matrix()
    turn[:3, 3] = 5.0, 6.0, 7.0
    rays = rays_to(_centre(), [5, 100, 200], PLACE, SHAPE)
    moved = Rays(rays.gantry, *(p @ turn[:3, :3].T + turn[:3, 3] for p in rays[1:]))
    ct = _boxes()
    upright = path_lengths([ct], ray_matrix(rays, PLACE, SHAPE), TABLE)
    oblique = path_lengths([ct], ray_matrix(moved, turn @ PLACE, SHAPE), TABLE)
    assert oblique == pytest.approx(upright, abs=1e-9)


@pytest.mark.parametrize("gantry", [0, 35, 90, 160, 215, 290])
def test_ellipses_to_a_tenth_of_a_millimetre(gantry):
    """A pelvis in small: an ellipse of tissue with one of bone inside, about other centres."""
    pixel, size = 0.05, (2200, 1700)
    affine = np.diag([pixel, pixel, 2.0, 1.0])
    affine[:2, 3] = [-pixel * (n - 1) / 2 for n in size]
    x, y = (pixel * (np.arange(n) - (n - 1) / 2) for n in size)
    ct = np.full((*size, 1), -1000, np.int16)
    ellipses = [(0, 0, 50, 38, 0), (-4, 6, 30, 22, 600)]  # centre and semi-axes in mm, HU
    for cx, cy, a, b, hu in ellipses:
        ct[((x[:, None] - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1] = hu
    point = np.array([3.0, -2.0])
    rays = rays_to([[*point, 0]], [gantry], affine, ct.shape)
    length = path_lengths([ct], ray_matrix(rays, affine, ct.shape), TABLE)[0, 0]
    towards = np.array([-np.sin(np.radians(gantry)), np.cos(np.radians(gantry))])
    outer, inner = (_to_border(point, towards, *ellipse[:4]) for ellipse in ellipses)
    # The border of an ellipse of pixels is within half a diagonal, 0.035 mm, of the true one. The
    # rays here meet both at less than 30° from the normal, where this is at most 0.041 mm of tissue
    # and 0.3 of it for bone; 0.1 mm is what planning asks for.
    assert length == pytest.approx(outer + 0.3 * inner, abs=0.1)


def _to_border(point, towards, cx, cy, a, b):
    """The distance s > 0 at which |(point + s towards - centre) / semi-axes| = 1."""
    p, d = (point - [cx, cy]) / [a, b], towards / [a, b]
    return max(np.roots([d @ d, 2 * p @ d, p @ p - 1]))


def test_each_draw_has_its_own_lengths():
    rng = np.random.default_rng(0)
    draws = rng.uniform(-900, 900, (4, *SHAPE)).astype(np.float32)
    target = np.zeros(SHAPE, bool)
    target[20:40, 15:25, 10:20] = True
    rays = rays_to(target_points(target, PLACE, most=5), [0, 75], PLACE, SHAPE)
    matrix = ray_matrix(rays, PLACE, SHAPE)
    together = path_lengths(draws, matrix)
    assert together.shape == (4, 12) and together.dtype == np.float64
    for draw, lengths in zip(draws, together, strict=True):
        np.testing.assert_array_equal(path_lengths([draw], matrix)[0], lengths)
        by_hand = matrix.toarray() @ PYRADPLAN(draw).ravel()
        assert lengths == pytest.approx(by_hand, rel=1e-12)
    columns = [np.asfortranarray(draw) for draw in draws]  # as NIfTI files are read
    np.testing.assert_array_equal(path_lengths(columns, matrix), together)


def test_figures_of_draws_and_the_real_ct():
    ct = _boxes()
    draws = np.stack([np.where(ct == 600, 600 + shift, ct) for shift in (-200.0, 0, 500)])
    rays = rays_to(_centre(), [0], PLACE, SHAPE)
    figures = range_figures(draws, ray_matrix(rays, PLACE, SHAPE), TABLE, ct=ct)
    # 9 mm of bone of 400, 600 and 1100 HU, which counts as 1000; their mean is 700 HU.
    other = 3 * 25.5
    assert figures.lengths[:, 0] == pytest.approx(other + 9 * np.array([1.2, 1.3, 1.5]))
    assert figures.nominal == pytest.approx([other + 9 * 1.35])
    assert figures.mean == pytest.approx([other + 9 * 4 / 3])
    assert figures.spread == pytest.approx([9 * np.std([1.2, 1.3, 1.5], ddof=1)])
    assert figures.real == pytest.approx([other + 9 * 1.3])
    assert figures.error == pytest.approx([9 * 0.05])
    alone = range_figures(draws, ray_matrix(rays, PLACE, SHAPE), TABLE)
    assert alone.real is None and alone.error is None


def test_air_outside_the_image_counts_nothing():
    ct = np.zeros(SHAPE)
    x, y, _ = TARGET[0]
    ends = [SHAPE[1] - 1 - y, x, y, SHAPE[0] - 1 - x]  # voxels to the image's border
    steps = SPACING[[1, 0, 1, 0]]
    lengths = _through(_centre(), Volume(ct, PLACE, "HU"))
    assert lengths == pytest.approx(steps * (0.5 + np.array(ends)), abs=1e-9)


def test_ten_large_draws_need_little_memory_beside_themselves():
    shape = (512, 512, 84)
    affine = np.diag([0.98, 0.98, 2.5, 1.0])
    draws = [np.zeros(shape, np.int16, order=order) for order in "CF"] * 5
    target = np.zeros(shape, bool)
    target[240:280, 240:280, 30:50] = True
    tracemalloc.start()
    points = target_points(target, affine)
    rays = rays_to(points, [0, 90, 180, 270], affine, shape)
    range_figures(draws, ray_matrix(rays, affine, shape))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One draw in another order of voxels is 44 MB, and the lengths of 404 rays in voxels are 3 MB.
    # Draws as float64 would be 1760 MB.
    assert peak < 200e6


REFUSED = {
    "shape": (np.zeros((2, 9, 9, 9)), "CT has 729 voxels and the rays cross an image of 90000"),
    "nan": (np.full((2, *SHAPE), np.nan), "CT holds NaN or infinite voxels on a ray"),
    "one": (np.zeros((1, *SHAPE)), "A spread needs at least 2 draws"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_draws_that_cannot_be_integrated_are_refused(name):
    draws, sentence = REFUSED[name]
    matrix = ray_matrix(rays_to(_centre(), [0], PLACE, SHAPE), PLACE, SHAPE)
    with pytest.raises(InputError, match=sentence):
        range_figures(draws, matrix)


def test_nan_beside_the_rays_is_of_no_matter():
    ct = _boxes()
    ct[:, :, 0] = np.nan
    assert np.isfinite(_through(_centre(), Volume(ct, PLACE, "HU"))).all()
