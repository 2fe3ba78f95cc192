"""Draw slices in the radiological view, and arrange slices and plots in cells of a page."""

import textwrap
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

DPI = 200
CELL = 1.9  # inches; five cells in the width of a page are readable in print
EDGE, GAP, TITLE, FOOT = 0.08, 0.06, 0.24, 0.46  # inches
PLOT_HEIGHT = 1.6  # inches, of a row of plots
PLOT_MARGIN = 0.38  # inches, for the labels of a row of plots
FONT, SMALL = 9, 7.5  # points
OUTSIDE = 0.85  # grey level outside the body

Slice = Float[np.ndarray, "x y"]


class View:
    """A crop around the body, drawn with the patient's right on the left and anterior up."""

    def __init__(self, mask: Bool[np.ndarray, "x y"], spacing: tuple[float, float]):
        self.mask = mask
        lines = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        self._crop = tuple(slice(max(0, line[0] - 2), line[-1] + 3) for line in lines)
        self._pixel_aspect = spacing[1] / spacing[0]
        x, y = mask[self._crop].shape
        self.height_to_width = y / x * self._pixel_aspect

    def draw(self, axes: Axes, plane: Slice, title: str, **style: Any) -> AxesImage:
        """Draw `plane` [x, y], with NaN in grey."""
        picture = self.picture(plane)
        axes.set(xticks=[], yticks=[], facecolor=str(OUTSIDE))
        axes.set_title(title, fontsize=FONT, pad=3)
        axes.spines[:].set_visible(False)
        return axes.imshow(picture, aspect=self._pixel_aspect, interpolation="nearest", **style)

    def picture(self, plane: Slice) -> Shaped[np.ndarray, "rows columns"]:
        """The crop of `plane` as rows and columns: y decreases with the row, x with the column."""
        return plane[self._crop].T[::-1, ::-1]

    def place(self, indices: Float[np.ndarray, "*d 2"]) -> Float[np.ndarray, "*d 2"]:
        """The column and row of voxel indices (x, y) in the picture."""
        x, y = (line.indices(n) for line, n in zip(self._crop, self.mask.shape, strict=True))
        return np.array([x[1], y[1]]) - 1 - indices

    def draw_body(self, axes: Axes, plane: Slice, title: str, **style: Any) -> AxesImage:
        """Draw `plane` inside the body only."""
        return self.draw(axes, np.where(self.mask, plane, np.nan), title, **style)


def mark_sides(axes: Axes) -> None:
    """Write R and L on the patient's right and left."""
    style: dict[str, Any] = {"color": "white", "fontsize": FONT, "va": "top"}
    axes.text(0.02, 0.97, "R", ha="left", transform=axes.transAxes, **style)
    axes.text(0.98, 0.97, "L", ha="right", transform=axes.transAxes, **style)


class Page:
    """A grid of cells for images of equal size, with a further row of cells if `plots` is true."""

    def __init__(self, columns: int, image_rows: int, height_to_width: float, plots: bool = False):
        self._heights = [CELL * height_to_width] * image_rows + [PLOT_HEIGHT] * plots
        width = 2 * EDGE + columns * CELL + (columns - 1) * GAP
        below = FOOT + PLOT_MARGIN * plots
        height = EDGE + sum(h + TITLE for h in self._heights) + below
        self.figure = Figure(figsize=(width, height), dpi=DPI)
        FigureCanvasAgg(self.figure)

    def axes(self, row: int, column: int) -> Axes:
        """Axes that fill a cell below its title."""
        return self._add(row, column, 0.0, 0.0, 1.0, self._heights[row] / CELL)

    def bar(self, row: int, column: int, image: ScalarMappable, label: str, at: float) -> None:
        """A horizontal colour bar in a cell, at the fraction `at` of the cell's height."""
        axes = self._add(row, column, 0.06, at * self._heights[row] / CELL, 0.88, 0.09 / CELL)
        low, high = image.get_clim()
        extend, ticks = "max" if low == 0 else "both", np.linspace(low, high, 5)
        self.figure.colorbar(image, cax=axes, orientation="horizontal", extend=extend, ticks=ticks)
        axes.tick_params(labelsize=SMALL, length=2, pad=1.5)
        axes.set_title(label, fontsize=SMALL, pad=3)

    def foot(self, text: str) -> None:
        """A note at the bottom, over the full width of the page."""
        width, height = self.figure.get_size_inches()
        lines = textwrap.fill(text, int(width * 17.5))
        self.figure.text(EDGE / width, 0.06 / height, lines, fontsize=SMALL)

    def _add(self, row: int, column: int, *box: float) -> Axes:
        """Axes at `box` (x, y, width, height), in units of `CELL` from a cell's lower left."""
        size = np.tile(self.figure.get_size_inches(), 2)
        bottom = size[1] - EDGE - sum(h + TITLE for h in self._heights[: row + 1])
        corner = np.array([EDGE + column * (CELL + GAP), bottom, 0, 0])
        return self.figure.add_axes(tuple((corner + CELL * np.array(box)) / size))
