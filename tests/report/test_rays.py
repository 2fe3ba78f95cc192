"""The fan of rays: where its lines lie in the picture, and what its rows say."""

import io
import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sde_ct.errors import InputError
from sde_ct.report import rays as picture
from sde_ct.uncertainty.path_length import RangeFigures
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.rays import rays_to, target_points
from sde_ct.volumes.volume import Volume, left_posterior_superior

SHAPE = (40, 30, 8)
PLACE = np.diag([2.0, 3.0, 5.0, 1.0])
PLACE[:3, 3] = -30.0, 20.0, 100.0
GANTRY = (90, 0)
POINTS = 13  # the centre and 12 of the surface


@pytest.fixture
def case():
    ct = np.full(SHAPE, -1000.0)
    ct[5:35, 4:26] = 40
    target = np.zeros(SHAPE, bool)
    target[10:15, 18:22, 2:7] = True  # on the patient's left, anterior
    rays = rays_to(target_points(target, PLACE, most=POINTS - 1), GANTRY, PLACE, SHAPE)
    nominal = 50.0 + np.arange(2 * POINTS)
    draws = nominal + np.array([[-2.0], [0.5], [1.0]])
    return Volume(ct, PLACE, "HU"), target, rays, RangeFigures(nominal, draws, nominal + 0.7)


def _fan(ct, target, rays, figures, bounds=None, interval="range of the 3 draws"):
    """The picture of path lengths; without `bounds`, with the range of the draws."""
    if bounds is None:
        bounds = np.stack([figures.lengths.min(axis=0), figures.lengths.max(axis=0)])
    return picture.fan(ct, target, TargetRanges(None, rays, figures, bounds, interval), "a patient")


def _render(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")


def _central(axes):
    """The rays to the centre, the first of each angle's."""
    return [line for line in axes.get_lines() if line.get_linewidth() == picture.CENTRAL]


@pytest.mark.parametrize("turned", [False, True])
def test_rays_come_from_their_side_and_end_in_the_target(case, turned):
    ct, target, rays, figures = case
    if turned:  # the voxels in DICOM's order
        target = left_posterior_superior(ct.with_array(target, "mask")).array
        ct = left_posterior_superior(ct)
    figure = _fan(ct, target, rays, figures)
    left = figure.axes[0]
    shown = left.images[0].get_array()
    rows, columns = shown.shape
    assert (columns, rows) == (34, 26)  # the body and two voxels about it
    from_left, from_front = (line.get_xydata() for line in _central(left))
    # x to the right is the picture's left: voxel (12, 19 or 20) of the crop up to (36, 27).
    np.testing.assert_allclose(from_left[1], from_front[1])
    column, row = from_left[1]
    assert column == pytest.approx(36 - 12) and row == pytest.approx(27 - 20, abs=1.01)
    assert from_left[0, 0] > columns and from_left[0, 1] == pytest.approx(row)
    assert from_front[0, 1] < 0 and from_front[0, 0] == pytest.approx(column)
    assert len(left.get_lines()) == len(GANTRY) * (POINTS + 1)
    assert (left.get_xlim(), left.get_ylim()) == ((-0.5, columns - 0.5), (rows - 0.5, -0.5))
    assert [text.get_text() for text in left.texts] == ["R", "L"]
    assert figure.get_suptitle() == "a patient" and figure.dpi == 200
    _render(figure)


def test_a_row_has_the_lengths_of_the_ray_to_the_centre(case):
    ct, target, rays, figures = case
    figure = _fan(ct, target, rays, figures)
    left, right = figure.axes
    rows = [text.get_text() for text in right.get_yticklabels()]
    assert rows == ["90°: 50.0 mm", f"0°: {50 + POINTS:.1f} mm"]
    colours = [to_hex(text.get_color()) for text in right.get_yticklabels()]
    assert colours == [to_hex(line.get_color()) for line in _central(left)]
    intervals = [bar.get_segments()[0] for bar in right.collections]
    np.testing.assert_allclose(intervals, [[[-2, 0], [1, 0]], [[-2, 1], [1, 1]]])
    marks = {kind: [] for kind in "|D"}
    for line in right.get_lines():
        if len(line.get_xdata()) and line.get_marker() in marks:
            marks[line.get_marker()].append(line.get_xydata())
    np.testing.assert_allclose(marks["|"], [[[x, y] for x in (-2, 0.5, 1)] for y in (0, 1)])
    np.testing.assert_allclose(marks["D"], [[[0.7, 0]], [[0.7, 1]]])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["nominal, in the mean CT", "range of the 3 draws", "draws", "real CT"]


def test_bounds_and_no_real_ct(case):
    ct, target, rays, figures = case
    bounds = figures.nominal + np.array([[-9.0], [-4.0]])  # they need not hold the nominal length
    figure = _fan(
        ct, target, rays, figures._replace(real=None), bounds=bounds, interval="90 % interval"
    )
    right = figure.axes[1]
    np.testing.assert_allclose(right.collections[0].get_segments()[0][:, 0], [-9, -4])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["nominal, in the mean CT", "90 % interval", "draws"]
    _render(figure)


@pytest.mark.parametrize("count", [1, 12])
def test_any_number_of_angles_fits(case, count):
    ct, target, *_ = case
    angles = [360 * i / count for i in range(count)]
    rays = rays_to(target_points(target, PLACE, most=3), angles, PLACE, SHAPE)
    nominal = np.full(len(rays.gantry), 80.0)
    figures = RangeFigures(nominal, np.stack([nominal] * 2), None)
    figure = _fan(ct, target, rays, figures)
    _render(figure)
    boxes = [text.get_window_extent() for text in figure.axes[1].get_yticklabels()]
    assert len(boxes) == count
    assert all(not a.overlaps(b) for a, b in pairwise(boxes))


def test_refusals(case):
    ct, target, rays, figures = case
    with pytest.raises(InputError, match=r"target has shape .* and the CT \(40, 30, 8\)"):
        _fan(ct, target[..., :4], rays, figures)
    elsewhere = PLACE.copy()
    elsewhere[2, 3] = -900
    with pytest.raises(InputError, match="The rays end outside the CT"):
        _fan(Volume(ct.array, elsewhere, "HU"), target, rays, figures)
