"""Draw one prepared patient: MR, CT, mask, and a checkerboard of MR and CT."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure
from scipy import ndimage

DPI = 150
WIDTH, EDGE, TITLE = 9.0, 0.08, 0.34  # inches
FONT = 9  # points
LEVELS = (0.25, 0.5, 0.75)  # fractions of the judged region's length along z
FIELDS = 6  # fields of the checkerboard along the longer side of a slice
CT_WINDOW = (-250.0, 750.0)  # HU
OUTLINE = np.array([1.0, 0.75, 0.0])
TITLES = ("MR", "CT, -250 to 750 HU", "judged region", "MR and CT")


def overview(
    mr: Float[np.ndarray, "z h w"],
    ct: Float[np.ndarray, "z h w"],
    mask: Shaped[np.ndarray, "z h w"],
    *,
    pixel: tuple[float, float],
    title: str,
) -> Figure:
    """Draw three axial slices, the lowest one at the bottom.

    The patient's right is on the left, and anterior is up.

    Args:
      mr: a.u., shown from its 1st to its 99.5th percentile in the mask.
      ct: HU.
      mask: 1 where results are judged; at least one voxel is 1.
      pixel: size (y, x), mm.
      title: text in the corner.
    """
    levels = np.flatnonzero((mask > 0).any(axis=(1, 2)))
    shown = [int(levels[int(share * (len(levels) - 1))]) for share in LEVELS]
    low, high = np.percentile(mr[mask > 0], (1, 99.5))
    rows = [_row(mr[z], ct[z], mask[z] > 0, (low, max(high, low + 1e-6))) for z in shown[::-1]]
    mosaic = np.concatenate(rows, axis=0)
    tall, wide = mosaic.shape[0] * pixel[0], mosaic.shape[1] * pixel[1]
    height = (WIDTH - 2 * EDGE) * tall / wide
    whole = height + EDGE + TITLE
    figure = Figure(figsize=(WIDTH, whole), dpi=DPI)
    axes = figure.add_axes((EDGE / WIDTH, EDGE / whole, 1 - 2 * EDGE / WIDTH, height / whole))
    axes.imshow(mosaic, aspect="auto", interpolation="nearest")
    axes.set_axis_off()
    for column, name in enumerate(TITLES):
        x = (column + 0.5) / len(TITLES)
        axes.text(x, 1.01, name, transform=axes.transAxes, fontsize=FONT, ha="center", va="bottom")
    corner = {"transform": axes.transAxes, "fontsize": FONT, "weight": "bold", "va": "bottom"}
    axes.text(0, 1.01, title, parse_math=False, **corner)  # type: ignore[arg-type]
    for row, z in enumerate(shown[::-1]):
        y = 1 - (row + 0.04) / len(shown)
        note = {"transform": axes.transAxes, "fontsize": FONT, "color": "white", "va": "top"}
        axes.text(0.005, y, f"R  z = {z}", **note)  # type: ignore[arg-type]
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture. Characters that the font lacks become boxes, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(path)


def _row(mr, ct, body, window) -> Float[np.ndarray, "h w4 3"]:
    """The four views of a slice side by side, as RGB from 0 to 1."""
    views = [_grey(mr, *window), _grey(ct, *CT_WINDOW)]
    outlined = views[0].copy()
    outlined[body & ~ndimage.binary_erosion(body, border_value=0)] = OUTLINE
    y, x = np.indices(mr.shape)
    field = max(1, max(mr.shape) // FIELDS)
    board = ((y // field + x // field) % 2).astype(bool)
    mixed = np.where(board[..., None], views[1], views[0])
    # Both axes of the slice are reversed, so that rows run to posterior and columns to the
    # patient's left.
    return np.concatenate([view[::-1, ::-1] for view in (*views, outlined, mixed)], axis=1)


def _grey(plane, low, high) -> Float[np.ndarray, "h w 3"]:
    return np.repeat(np.clip((plane - low) / (high - low), 0, 1)[..., None], 3, axis=2)
