"""Panels of one size on a page, and axial slices in them as a radiologist sees them."""

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

DPI = 200
CELL = 1.9  # inches: five to a page's width stay readable in print
EDGE, GAP, TITLE, FOOT = 0.08, 0.06, 0.24, 0.46  # inches
PLOT_HEIGHT, PLOT_MARGIN = 1.6, 0.38  # inches: a row of plots and the space for its labels
FONT, SMALL = 9, 7.5  # points
OUTSIDE = "0.85"  # grey of what is not shown

Slice = Float[np.ndarray, "x y"]


class View:
    """A slice's crop around the body, drawn with the patient's right on the left, anterior up."""

    def __init__(self, mask: Bool[np.ndarray, "x y"], spacing: tuple[float, float]):
        self.mask = mask
        self._crop = tuple(
            slice(max(0, np.flatnonzero(line)[0] - 2), np.flatnonzero(line)[-1] + 3)
            for line in (mask.any(axis=1), mask.any(axis=0))
        )
        self._pixel_aspect = spacing[1] / spacing[0]
        x, y = mask[self._crop].shape
        self.height_to_width = y / x * self._pixel_aspect

    def show(self, axes: Axes, plane: Slice, **style: Any) -> AxesImage:
        """Draw `plane` [x, y]; NaN is left grey."""
        picture = plane[self._crop].T[::-1, ::-1]  # rows downwards: y falls; columns: x falls
        axes.set(xticks=[], yticks=[], facecolor=OUTSIDE)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes.imshow(picture, aspect=self._pixel_aspect, interpolation="nearest", **style)


class Page:
    """A figure of equal cells, rows from the top; the last row may hold plots."""

    def __init__(self, columns: int, image_rows: int, height_to_width: float, plots: bool = False):
        self._image = CELL * height_to_width
        self._heights = [self._image] * image_rows + [PLOT_HEIGHT] * plots
        width = 2 * EDGE + columns * CELL + (columns - 1) * GAP
        below = FOOT + PLOT_MARGIN * plots
        height = EDGE + sum(h + TITLE for h in self._heights) + below
        self.figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(self.figure)

    def axes(self, row: int, column: int) -> Axes:
        """Axes that fill a cell; there is room for a title above."""
        return self._add(row, column, 0.0, 0.0, 1.0, 1.0)

    def bar(self, row: int, column: int, image: ScalarMappable, label: str, at: float) -> None:
        """A colour bar lying in a cell, `at` a share of its height from below."""
        thickness = 0.09 / self._heights[row]
        axes = self._add(row, column, 0.06, at, 0.88, thickness)
        low, high = image.get_clim()
        self.figure.colorbar(
            image,
            cax=axes,
            orientation="horizontal",
            extend="max" if low == 0 else "both",
            ticks=np.linspace(low, high, 5),
        )
        axes.tick_params(labelsize=SMALL, length=2, pad=1.5)
        axes.set_title(label, fontsize=SMALL, pad=3)

    def foot(self, text: str) -> None:
        """A note over the page's full width."""
        width = self.figure.get_figwidth()
        lines = textwrap.fill(text, int(width * 17.5))
        self.figure.text(EDGE / width, 0.06 / self.figure.get_figheight(), lines, fontsize=SMALL)

    def _add(self, row: int, column: int, x: float, y: float, w: float, h: float) -> Axes:
        """Axes at a share (x, y, w, h) of a cell."""
        width, height = self.figure.get_size_inches()
        left = EDGE + column * (CELL + GAP)
        bottom = height - EDGE - sum(cell + TITLE for cell in self._heights[: row + 1])
        cell = self._heights[row]
        box = (left + x * CELL, bottom + y * cell, w * CELL, h * cell)
        return self.figure.add_axes(
            (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        )
