"""What the pictures show, read back from their axes; and that they draw without a warning."""

import io
import warnings

import numpy as np
import pytest
from matplotlib.image import imread

from sde_ct.errors import InputError
from sde_ct.evaluation.table import DRAWN, METHODS
from sde_ct.report import charts, figures
from sde_ct.report.figures import comparison, uncertainty
from sde_ct.uncertainty.reliability import reliability

SHAPE = (40, 30)


@pytest.fixture
def planes():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    body = (x / 0.8) ** 2 + (y / 0.7) ** 2 < 1
    ct = np.where(body, 40 + 20 * rng.normal(size=SHAPE), -1000.0)
    return rng.uniform(0, 500, SHAPE) * body, ct, body


def _titles(figure):
    return [axes.get_title() for axes in figure.axes]


def _render(figure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    buffer.seek(0)
    return imread(buffer)


def test_comparison_shows_every_method_and_its_error(planes):
    mr, ct, body = planes
    predictions = {m: np.where(body, ct + 10 * (i + 1), 999.0) for i, m in enumerate(METHODS)}
    figure = comparison(mr, ct, predictions, body)
    titles = _titles(figure)
    assert titles.count("MR") == 1 and titles.count("real CT") == 3
    for i, method in enumerate(METHODS):
        assert titles.count(method) == 1
        # 999 HU outside the body has no part in the error.
        assert f"MAE {10 * (i + 1)} HU" in titles
    assert {"CT (HU)", "prediction - CT (HU)"} <= set(titles)
    errors = [a.images[0] for a in figure.axes if a.get_title().startswith("MAE")]
    assert {image.get_clim() for image in errors} == {(-300, 300)}
    assert figure.dpi >= 150
    picture = _render(figure)
    assert picture.shape[1] == round(figure.get_figwidth() * figure.dpi)


def test_slices_are_drawn_in_the_radiological_view(planes):
    mr, ct, _ = planes
    ct[30, 15] = 700.0  # x runs to the patient's right: the left half of the picture
    ct[20, 25] = 600.0  # y runs to anterior: the upper half
    figure = comparison(mr, ct, {"CNN": ct}, np.ones(SHAPE, bool))
    shown = figure.axes[1].images[0].get_array()
    rows, columns = shown.shape
    assert (columns, rows) == SHAPE
    row, column = np.argwhere(shown == 700.0)[0]
    assert (row, column) == (rows - 1 - 15, columns - 1 - 30) and column < columns / 2
    assert np.argwhere(shown == 600.0)[0][0] < rows / 2
    assert [text.get_text() for text in figure.axes[0].texts] == ["R", "L"]


def test_errors_outside_the_body_are_not_drawn(planes):
    mr, ct, body = planes
    figure = comparison(mr, ct, {"CNN": ct + 50}, body)
    error = next(a for a in figure.axes if a.get_title() == "MAE 50 HU").images[0].get_array()
    assert np.ma.getmaskarray(error).sum() == error.size - body.sum()


@pytest.mark.parametrize("count", [1, 4, 9])
def test_any_number_of_methods_fits(planes, count):
    mr, ct, body = planes
    figure = comparison(mr, ct, {f"method {i}": ct for i in range(count)}, body)
    assert sum(title.startswith("method") for title in _titles(figure)) == count
    for axes in figure.axes:
        box = axes.get_position()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= 1 and box.y1 <= 1
    _render(figure)


def test_spacing_keeps_the_patients_proportions(planes):
    mr, ct, body = planes
    square = comparison(mr, ct, {"CNN": ct}, body)
    tall = comparison(mr, ct, {"CNN": ct}, body, spacing=(1.0, 2.0))
    ratio = [f.axes[0].get_position().height * f.get_figheight() for f in (square, tall)]
    assert ratio[1] == pytest.approx(2 * ratio[0])
    assert tall.axes[0].get_aspect() == 2


def test_uncertainty_shares_one_scale_and_bins_by_spread(planes):
    _, ct, body = planes
    rng = np.random.default_rng(1)
    spread = rng.uniform(10, 100, SHAPE)
    samplers = {name: (spread, 2 * spread) for name in DRAWN}
    figure = uncertainty(samplers, ct, body)
    maps = [a for a in figure.axes if ": " in a.get_title()]
    assert [a.get_title() for a in maps[:2]] == ["DDPM: spread", "DDPM: |error|"]
    assert len(maps) == 2 * len(DRAWN)
    assert {a.images[0].get_clim() for a in maps} == {(0, 200)}
    plots = [a for a in figure.axes if a.get_xlabel() == "spread (HU)"]
    assert len(plots) == len(DRAWN) and plots[0].get_ylabel() == "mean |error| (HU)"
    x, y = plots[0].get_lines()[0].get_data()
    assert len(x) == 10 and (np.diff(x) > 0).all()
    np.testing.assert_allclose(y, 2 * np.asarray(x))
    _render(figure)


def test_collapsed_spread_still_draws(planes):
    _, ct, body = planes
    _render(uncertainty({"ODE": (np.zeros(SHAPE), np.zeros(SHAPE))}, ct, body))


def test_reliability_shows_shares_with_their_intervals():
    votes = {p: np.arange(20) < 20 * p for p in (0.1, 0.5, 0.9)}
    half = {p: np.arange(20) < 10 for p in votes}
    seen = {p: np.arange(10) < 10 * p for p in votes}
    samplers = {"EM": reliability(votes, seen), "PC": reliability(half, seen)}
    figure = charts.reliability(samplers, "two samplers")
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["right", "training patients", "EM", "PC"]
    right, pictured = (c.lines[0].get_data() for c in axes.containers)
    assert right[1] == pytest.approx([0.1, 0.5, 0.9]) and pictured[1] == pytest.approx([0.5] * 3)
    assert right[0] == pytest.approx(np.array([0.1, 0.5, 0.9]) - 0.006)
    bars = axes.containers[1].lines[2][0].get_segments()
    one = samplers["PC"].outcomes[0]
    assert [y for _, y in bars[0]] == pytest.approx([one.low, one.high])
    _render(figure)


def test_figures_are_saved_for_paper_and_screen(planes, tmp_path):
    mr, ct, body = planes
    for name in "ab":
        paths = figures.save(comparison(mr, ct, {"CNN": ct + 50}, body), tmp_path / name)
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.pdf"]
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_refusals(planes):
    mr, ct, body = planes
    with pytest.raises(InputError, match="'CNN' has shape"):
        comparison(mr, ct, {"CNN": ct.T}, body)
    with pytest.raises(InputError, match="mask of the pictured slice is empty"):
        uncertainty({"EM": (ct, ct)}, ct, np.zeros(SHAPE, bool))
