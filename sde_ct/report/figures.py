"""The pictures of the comparison, drawn without pyplot's global state.

Slices come as [x, y] arrays with RAS+ axes (x to the patient's right, y to anterior) and are drawn
in the radiological view: the patient's right on the left of the picture, anterior up.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from sde_ct.report import plots
from sde_ct.report.panels import DPI, FONT, SMALL, Page, Slice, View
from sde_ct.uncertainty.reliability import Reliability

CT_WINDOW = (-250.0, 750.0)  # HU: fat, muscle and marrow told apart; only dense cortex is all white
ERROR_WINDOW = (-300.0, 300.0)  # HU
ERROR_COLOURS = "RdBu_r"  # diverging, told apart by colour-blind readers
SPREAD_COLOURS = "inferno"  # even in lightness
Curve = Mapping[str, Sequence[Mapping[str, float]]]  # "single", "average" -> points
MAPS = ("spread", "|error|")
FRONTIER_TOP = 3.0  # times the lowest error
FRONTIER = {
    "mae": "MAE in the body (HU); dashed: mean of draws",
    "ssim": "SSIM; dashed: mean of draws",
    "crps": "CRPS of the draws (HU)",
}
VIEW = "Axial slice, radiological view: patient's right (R) on the left, anterior up."


def comparison(
    mr: Slice,
    ct: Slice,
    predictions: Mapping[str, Slice],
    mask: Bool[np.ndarray, "x y"],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Figure:
    """MR, CT and every method's CT, and below each its signed error in the body.

    Averages ("DDPM-M") stand in a block of their own below their single draws ("DDPM"); the real
    CT leads every block.

    Args:
        mr: any units; shown from its 1st to its 99.5th percentile in the body.
        ct: the real CT, HU, shown in `CT_WINDOW`.
        predictions: method -> synthetic CT, HU; the order is kept.
        mask: the body; errors outside it are not shown and the picture is cropped to it.
        spacing: voxel size along x and y, mm.

    Returns:
        A figure at 200 dpi: `figure.savefig(path)`.
    """
    plots.require_slices(ct, mask, {"MR": mr, **predictions})
    rows = plots.blocks(list(predictions))
    view = View(mask > 0, spacing)
    page = Page(max(map(len, rows)), 2 * len(rows), view.height_to_width)
    low, high = np.percentile(mr[view.mask], (1, 99.5))
    for number, block in enumerate(rows):
        for column, name in enumerate(block):
            axes = page.axes(2 * number, column)
            if name is plots.MR:
                view.show(axes, mr, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
                plots.sides(axes)
                axes.set_title("MR", fontsize=FONT, pad=3)
                continue
            plane = ct if name is plots.CT else predictions[name]
            image = view.show(axes, plane, cmap="gray", vmin=CT_WINDOW[0], vmax=CT_WINDOW[1])
            axes.set_title("real CT" if name is plots.CT else name, fontsize=FONT, pad=3)
            if name is not plots.CT:
                error = _error(page.axes(2 * number + 1, column), view, plane - ct)
    page.bar(1, 0, image, "CT (HU)", 0.45)
    page.bar(1, 1, error, "prediction - CT (HU)", 0.45)
    page.foot(
        f"{VIEW} CT shown from {CT_WINDOW[0]:.0f} to {CT_WINDOW[1]:.0f} HU. Below each method: its "
        "error in the body (red: too dense) and the mean absolute error of this slice."
    )
    return page.figure


def _error(axes: Axes, view: View, error: Slice) -> AxesImage:
    """The signed error in the body, titled with its mean absolute value, HU."""
    body = np.where(view.mask, error, np.nan)
    mae = np.abs(error[view.mask]).mean()
    axes.set_title(f"MAE {mae:.0f} HU", fontsize=SMALL, pad=3)
    return view.show(axes, body, cmap=ERROR_COLOURS, vmin=ERROR_WINDOW[0], vmax=ERROR_WINDOW[1])


def uncertainty(
    samplers: Mapping[str, tuple[Slice, Slice]],
    ct: Slice,
    mask: Bool[np.ndarray, "x y"],
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Figure:
    """Per sampler the spread of its draws, the |error| of their mean and one against the other.

    Args:
        samplers: name -> (standard deviation of the draws, |error| of their mean), HU.
        ct: the real CT, HU, shown in `CT_WINDOW`.
        mask: the body; the picture is cropped to it.
        spacing: voxel size along x and y, mm.

    Returns:
        A figure at 200 dpi; both maps of every sampler share one scale, in HU. In the lowest row
        voxels are binned by spread, ten bins of equal size; the dashed line is what calibrated
        Gaussian draws would show.
    """
    pairs = {f"{n} {k}": m for n, p in samplers.items() for k, m in zip(MAPS, p, strict=True)}
    plots.require_slices(ct, mask, pairs)
    view = View(mask > 0, spacing)
    page = Page(len(samplers) + 1, 2, view.height_to_width, plots=True)
    inside = np.concatenate([plane[view.mask] for plane in pairs.values()])
    top = 100.0 * max(1.0, np.ceil(np.percentile(inside, 99) / 100))

    axes = page.axes(0, 0)
    image = view.show(axes, ct, cmap="gray", vmin=CT_WINDOW[0], vmax=CT_WINDOW[1])
    axes.set_title("real CT", fontsize=FONT, pad=3)
    plots.sides(axes)
    panels = []
    for column, (name, planes) in enumerate(samplers.items(), start=1):
        for r, (kind, plane) in enumerate(zip(MAPS, planes, strict=True)):
            axes = page.axes(r, column)
            axes.set_title(f"{name}: {kind}", fontsize=FONT, pad=3)
            body = np.where(view.mask, plane, np.nan)
            shown = view.show(axes, body, cmap=SPREAD_COLOURS, vmin=0.0, vmax=top)
        panels.append(page.axes(2, column))
        plots.binned(panels[-1], *(plane[view.mask] for plane in planes))
    plots.same_limits(panels)
    page.bar(1, 0, image, "CT (HU)", 0.65)
    page.bar(1, 0, shown, "spread, |error| (HU)", 0.15)
    page.foot(
        f"{VIEW} Spread: standard deviation of the draws; error: mean of the draws - CT. Below: "
        f"voxels of the body in {plots.BINS} equal bins by spread; "
        f"dashed: calibrated Gaussian draws, |error| = {plots.GAUSSIAN:.2f} spread."
    )
    return page.figure


def frontier(curves: Mapping[str, Curve], title: str = "") -> Figure:
    """Quality against network evaluations, a line a sampler: MAE, SSIM and CRPS.

    Args:
        curves: sampler -> {"single": points, "average": points}, each point a mapping with
            `evaluations` (all draws together), `mae` (HU), `ssim` and `crps` (HU); single draws
            are drawn solid, averages dashed.
        title: above the panels.

    Returns:
        A figure at 200 dpi; evaluations on a logarithmic axis, errors up to `FRONTIER_TOP` times
        the lowest.
    """
    figure = Figure(figsize=(11.4, 3.9), dpi=DPI)
    panels = figure.subplots(1, 3)
    for (name, curve), colour in zip(curves.items(), plots.colours(len(curves)), strict=True):
        for kind, style in (("single", "o-"), ("average", "o--")):
            points = sorted(curve.get(kind, ()), key=lambda p: p["evaluations"])
            x = [p["evaluations"] for p in points]
            for axes, figure_name in zip(panels, FRONTIER, strict=True):
                if kind == "average" and figure_name == "crps":
                    continue  # it is a figure of the draws, not of their mean
                y = [p[figure_name] for p in points]
                label = name if kind == "single" else None
                axes.plot(x, y, style, color=colour, markersize=2.5, linewidth=1, label=label)
    for axes, label in zip(panels, FRONTIER.values(), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel("network evaluations a slice", fontsize=FONT)
        axes.set_title(label, fontsize=FONT)
        axes.tick_params(labelsize=SMALL)
        axes.grid(alpha=0.3)
    for axes in (panels[0], panels[2]):  # too few steps err without bound: cut off, not shown
        lowest = min(y for line in axes.get_lines() for y in line.get_ydata())
        axes.set_ylim(0.9 * lowest, FRONTIER_TOP * lowest)
    panels[2].legend(fontsize=SMALL, loc="upper right")
    figure.suptitle(title, fontsize=FONT)
    figure.tight_layout()
    return figure


def reliability(samplers: Mapping[str, Reliability], title: str = "") -> Figure:
    """Share of bone-like draws against the probability that the MR tells; right is the diagonal.

    Args:
        samplers: name -> its `reliability.reliability`, all of the same priors.
        title: above the plot.

    Returns:
        A figure at 200 dpi: a line a sampler with 95 % Wilson intervals, and as grey squares the
        shares among the training patients, where known.
    """
    figure = Figure(figsize=(4.2, 4.2), dpi=DPI)
    axes = figure.subplots()
    axes.axline((0, 0), slope=1, color="0.5", linestyle="--", linewidth=1, label="right")
    seen = next((found for found in samplers.values() if found.seen), None)
    if seen:
        shares = [o.share for o in seen.seen]  # type: ignore[union-attr]
        axes.plot(seen.priors, shares, "s", color="0.6", markersize=5, label="training patients")
    for number, ((name, found), colour) in enumerate(
        zip(samplers.items(), plots.colours(len(samplers)), strict=True)
    ):
        x = found.priors + 0.012 * (number - (len(samplers) - 1) / 2)  # so that intervals show
        y = np.array([o.share for o in found.outcomes])
        ends = np.array([(o.share - o.low, o.high - o.share) for o in found.outcomes]).T
        axes.errorbar(
            x, y, ends, fmt="o-", color=colour, markersize=3, linewidth=1, capsize=2, label=name
        )
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel("probability of bone, given the MR", fontsize=FONT)
    axes.set_ylabel("share of bone-like draws", fontsize=FONT)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=SMALL, loc="upper left", frameon=False)
    axes.set_title(title, fontsize=FONT)
    figure.tight_layout()
    return figure


def save(figure: Figure, path: str | os.PathLike) -> tuple[Path, Path]:
    """Write `path`.png and `path`.pdf; the same figure gives the same bytes."""
    png, pdf = (Path(f"{os.fspath(path)}.{kind}") for kind in ("png", "pdf"))
    figure.savefig(png)
    figure.savefig(pdf, metadata={"CreationDate": None})
    return png, pdf
