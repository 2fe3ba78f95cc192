"""The figures of a comparison, drawn without pyplot's global state.

Slices are [x, y] arrays with RAS+ axes (x to the patient's right, y anterior). They are drawn in
the radiological view, with the patient's right on the left of the picture and anterior up.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sde_ct.errors import InputError
from sde_ct.report.layout import SMALL, Page, Slice, View, mark_sides

CT_WINDOW = {"vmin": -250.0, "vmax": 750.0}  # HU: separates fat, muscle and marrow
ERROR_WINDOW = (-300.0, 300.0)  # HU
ERROR_COLOURS = "RdBu_r"  # diverging; readable for colour-blind readers
SPREAD_COLOURS = "inferno"  # perceptually uniform
BINS = 10  # with equal numbers of voxels
COLUMNS = 9  # the most in a comparison
GAUSSIAN = np.sqrt(2 / np.pi)  # E|error| / standard deviation
VIEW = "Axial slice, radiological view: patient's right (R) on the left, anterior up."


def comparison(
    mr: Slice,
    ct: Slice,
    predictions: Mapping[str, Slice],
    mask: Bool[np.ndarray, "x y"],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Figure:
    """The MR, the CT and every method's CT, with each method's signed error below it.

    Averages ("DDPM-M") form blocks of their own below the single draws ("DDPM"). Each block begins
    with the real CT, and the first block with the MR before it. The figure has 200 dpi.

    Args:
        mr: any units, shown from its 1st to its 99.5th percentile in the body.
        ct: the real CT, HU, shown in `CT_WINDOW`.
        predictions: method -> synthetic CT, HU, in the order to show.
        mask: the body; errors outside it are not shown, and the picture is cropped to it.
        spacing: voxel size along x and y, mm.

    Raises:
        InputError: the slices differ in shape, or the mask is empty.
    """
    _require_slices(ct, mask, {"MR": mr, **predictions})
    blocks = _blocks(list(predictions))
    view = View(mask > 0, spacing)
    columns = 1 + max(len(block) + (block is blocks[0]) for block in blocks)
    page = Page(columns, 2 * len(blocks), view.height_to_width)
    low, high = np.percentile(mr[view.mask], (1, 99.5))
    axes = page.axes(0, 0)
    view.draw(axes, mr, "MR", cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
    mark_sides(axes)
    for row, block in enumerate(blocks):
        first = int(row == 0)  # the MR comes before the CT
        image = view.draw(page.axes(2 * row, first), ct, "real CT", cmap="gray", **CT_WINDOW)
        for column, name in enumerate(block, start=first + 1):
            view.draw(page.axes(2 * row, column), predictions[name], name, cmap="gray", **CT_WINDOW)
            below, error = page.axes(2 * row + 1, column), predictions[name] - ct
            mae = f"MAE {np.abs(error[view.mask]).mean():.0f} HU"
            least, most = ERROR_WINDOW
            errors = view.draw_body(below, error, mae, cmap=ERROR_COLOURS, vmin=least, vmax=most)
            below.title.set_fontsize(SMALL)
    page.bar(1, 0, image, "CT (HU)", 0.45)
    page.bar(1, 1, errors, "prediction - CT (HU)", 0.45)
    page.foot(
        f"{VIEW} CT shown from {CT_WINDOW['vmin']:.0f} to {CT_WINDOW['vmax']:.0f} HU. Below each "
        "method: its error in the body (red: too dense) and the mean absolute error of this slice."
    )
    return page.figure


def _blocks(names: list[str]) -> list[list[str]]:
    """The names in rows: methods X that have no average X-M, then single draws, then averages."""
    averages = [n for n in names if n.endswith("-M") and n[:-2] in names]
    singles = [n for n in names if f"{n}-M" in averages]
    others = [n for n in names if n not in averages and n not in singles]
    room = COLUMNS - 1  # beside the CT
    blocks = [others[: room - 1]]  # the MR needs a column too
    for group in (others[room - 1 :], singles, averages):
        blocks += [group[i : i + room] for i in range(0, len(group), room)]
    return blocks


def uncertainty(
    samplers: Mapping[str, tuple[Slice, Slice]],
    ct: Slice,
    mask: Bool[np.ndarray, "x y"],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Figure:
    """Maps of the spread of each sampler's draws and of the error of their mean.

    All maps have one scale in HU. The lowest row plots error against spread, in bins of voxels by
    spread; the dashed line is that of calibrated Gaussian draws. The figure has 200 dpi.

    Args:
        samplers: name -> (standard deviation of the draws, |error| of their mean), HU.
        ct, mask, spacing: as in `comparison`.

    Raises:
        InputError: the slices differ in shape, or the mask is empty.
    """
    kinds = ("spread", "|error|")
    pairs = {f"{n}: {k}": m for n, p in samplers.items() for k, m in zip(kinds, p, strict=True)}
    _require_slices(ct, mask, pairs)
    view = View(mask > 0, spacing)
    page = Page(len(samplers) + 1, 2, view.height_to_width, plots=True)
    inside = np.concatenate([plane[view.mask] for plane in pairs.values()])
    top = 100.0 * max(1.0, np.ceil(np.percentile(inside, 99) / 100))
    axes = page.axes(0, 0)
    image = view.draw(axes, ct, "real CT", cmap="gray", **CT_WINDOW)
    mark_sides(axes)
    for number, (title, plane) in enumerate(pairs.items()):
        axes = page.axes(number % 2, 1 + number // 2)
        spread = view.draw_body(axes, plane, title, cmap=SPREAD_COLOURS, vmin=0.0, vmax=top)
    panels = [page.axes(2, column) for column in range(1, len(samplers) + 1)]
    for panel, planes in zip(panels, samplers.values(), strict=True):
        _draw_binned(panel, *(plane[view.mask] for plane in planes))
    _share_limits(panels)
    page.bar(1, 0, image, "CT (HU)", 0.65)
    page.bar(1, 0, spread, "spread, |error| (HU)", 0.15)
    page.foot(
        f"{VIEW} Spread: standard deviation of the draws; error: mean of the draws - CT. Below: "
        f"voxels of the body in {BINS} equal bins by spread; "
        f"dashed: calibrated Gaussian draws, |error| = {GAUSSIAN:.2f} spread."
    )
    return page.figure


def _draw_binned(axes: Axes, spread: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]):
    """Mean |error| against mean spread in bins, and the line of calibrated draws."""
    order = np.argsort(spread, kind="stable")
    x, y = ([part.mean() for part in np.array_split(v[order], BINS)] for v in (spread, error))
    axes.plot(x, y, "o-", color="black", markersize=3, linewidth=1, label="measured")
    axes.axline(
        (0, 0), slope=GAUSSIAN, color="0.5", linestyle="--", linewidth=1, label="calibrated"
    )


def _share_limits(panels: list[Axes]) -> None:
    """Give all panels of `_draw_binned` the same square range, and labels to the first."""
    ends = [np.max(panel.get_lines()[0].get_data()) for panel in panels]  # type: ignore[arg-type]
    limit = 1.08 * max(1.0, *ends)
    for number, panel in enumerate(panels):
        panel.set(xlim=(0, limit), ylim=(0, limit))
        panel.set_xlabel("spread (HU)", fontsize=SMALL, labelpad=2)
        panel.tick_params(labelsize=SMALL, length=2, pad=2, labelleft=number == 0)
        panel.locator_params(nbins=4)
    panels[0].set_ylabel("mean |error| (HU)", fontsize=SMALL, labelpad=2)
    panels[0].legend(fontsize=SMALL, loc="upper left", frameon=False, handlelength=1.6)


def save(figure: Figure, path: str | os.PathLike) -> tuple[Path, Path]:
    """Write `path`.png and `path`.pdf without dates, so that equal figures give equal files."""
    png, pdf = (Path(f"{os.fspath(path)}.{kind}") for kind in ("png", "pdf"))
    figure.savefig(png)
    figure.savefig(pdf, metadata={"CreationDate": None})
    return png, pdf


def _require_slices(ct: Slice, mask: np.ndarray, planes: Mapping[str, np.ndarray]) -> None:
    """Raise an InputError if a plane has another shape than the CT, or if the mask is empty."""
    for name, plane in {"mask": mask, **planes}.items():
        if np.ndim(plane) != 2 or plane.shape != ct.shape:
            raise InputError(
                f"'{name}' has shape {np.shape(plane)} and the CT {ct.shape}: give slices [x, y] "
                "on one grid."
            )
    if not np.any(mask):
        raise InputError("The mask of the pictured slice is empty: choose a slice with body in it.")
