"""The pictures of the comparison, drawn without pyplot's global state.

Slices come as [x, y] arrays with RAS+ axes (x to the patient's right, y to anterior) and are drawn
in the radiological view: the patient's right on the left of the picture, anterior up.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sde_ct.errors import InputError
from sde_ct.evaluation.panels import DPI, FONT, SMALL, Page, Slice, View

CT_WINDOW = (-250.0, 750.0)  # HU: fat, muscle and marrow told apart; only dense cortex is all white
ERROR_WINDOW = (-300.0, 300.0)  # HU
ERROR_COLOURS = "RdBu_r"  # diverging, told apart by colour-blind readers
SPREAD_COLOURS = "inferno"  # even in lightness
BINS = 10  # of equal numbers of voxels
COLUMNS = 6
GAUSSIAN = np.sqrt(2 / np.pi)  # E|error| / standard deviation
Curve = Mapping[str, Sequence[Mapping[str, float]]]  # "single", "average" -> points
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
    _require_slices(ct, mask, {"MR": mr, **predictions})
    blocks = _blocks(list(predictions))
    view = View(mask > 0, spacing)
    page = Page(max(map(len, blocks)), 2 * len(blocks), view.height_to_width)
    low, high = np.percentile(mr[view.mask], (1, 99.5))
    for number, block in enumerate(blocks):
        for column, name in enumerate(block):
            axes = page.axes(2 * number, column)
            if name == _MR:
                view.show(axes, mr, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
                _sides(axes)
                axes.set_title("MR", fontsize=FONT, pad=3)
                continue
            plane = ct if name == _CT else predictions[name]
            image = view.show(axes, plane, cmap="gray", vmin=CT_WINDOW[0], vmax=CT_WINDOW[1])
            axes.set_title("real CT" if name == _CT else name, fontsize=FONT, pad=3)
            if name != _CT:
                error = _error(page.axes(2 * number + 1, column), view, plane - ct)
    page.bar(1, 0, image, "CT (HU)", 0.45)
    page.bar(1, 1, error, "prediction - CT (HU)", 0.45)
    page.foot(
        f"{VIEW} CT shown from {CT_WINDOW[0]:.0f} to {CT_WINDOW[1]:.0f} HU. Below each method: its "
        "error in the body (red: too dense) and the mean absolute error of this slice."
    )
    return page.figure


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
        voxels are binned by spread, `BINS` bins of equal size; the dashed line is what calibrated
        Gaussian draws would show.
    """
    pairs = {f"{n} {k}": m for n, p in samplers.items() for k, m in zip(_MAPS, p, strict=True)}
    _require_slices(ct, mask, pairs)
    view = View(mask > 0, spacing)
    page = Page(len(samplers) + 1, 2, view.height_to_width, plots=True)
    inside = np.concatenate([plane[view.mask] for plane in pairs.values()])
    top = 100.0 * max(1.0, np.ceil(np.percentile(inside, 99) / 100))

    axes = page.axes(0, 0)
    image = view.show(axes, ct, cmap="gray", vmin=CT_WINDOW[0], vmax=CT_WINDOW[1])
    axes.set_title("real CT", fontsize=FONT, pad=3)
    _sides(axes)
    plots = []
    for column, (name, planes) in enumerate(samplers.items(), start=1):
        for r, (kind, plane) in enumerate(zip(_MAPS, planes, strict=True)):
            axes = page.axes(r, column)
            axes.set_title(f"{name}: {kind}", fontsize=FONT, pad=3)
            body = np.where(view.mask, plane, np.nan)
            shown = view.show(axes, body, cmap=SPREAD_COLOURS, vmin=0.0, vmax=top)
        plots.append(page.axes(2, column))
        _binned(plots[-1], *(plane[view.mask] for plane in planes))
    _same_limits(plots)
    page.bar(1, 0, image, "CT (HU)", 0.65)
    page.bar(1, 0, shown, "spread, |error| (HU)", 0.15)
    page.foot(
        f"{VIEW} Spread: standard deviation of the draws; error: mean of the draws - CT. Below: "
        f"voxels of the body in {BINS} equal bins by spread; "
        f"dashed: calibrated Gaussian draws, |error| = {GAUSSIAN:.2f} spread."
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
    for (name, curve), colour in zip(curves.items(), _colours(len(curves)), strict=True):
        for kind, style in (("single", "o-"), ("average", "o--")):
            points = sorted(curve.get(kind, ()), key=lambda p: p["evaluations"])
            x = [p["evaluations"] for p in points]
            for axes, figure_name in zip(panels, _FRONTIER, strict=True):
                if kind == "average" and figure_name == "crps":
                    continue  # it is a figure of the draws, not of their mean
                y = [p[figure_name] for p in points]
                label = name if kind == "single" else None
                axes.plot(x, y, style, color=colour, markersize=2.5, linewidth=1, label=label)
    for axes, label in zip(panels, _FRONTIER.values(), strict=True):
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


FRONTIER_TOP = 3.0  # times the lowest error
_FRONTIER = {
    "mae": "MAE in the body (HU); dashed: mean of draws",
    "ssim": "SSIM; dashed: mean of draws",
    "crps": "CRPS of the draws (HU)",
}


# Told apart by colour-blind readers (Okabe & Ito 2008).
PALETTE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#999999",
)  # fmt: skip


def _colours(count: int) -> list[str]:
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


_MR, _CT = object(), object()  # no method's name
_MAPS = ("spread", "|error|")


def _blocks(names: list[str]) -> list[list]:
    """The names in rows: those without an average, single draws, averages; wrapped, CT first."""
    averages = [n for n in names if n.endswith("-M") and n[:-2] in names]
    singles = [n for n in names if f"{n}-M" in averages]
    others = [n for n in names if n not in averages and n not in singles]
    room = COLUMNS - 1  # beside the CT
    blocks = [[_MR, _CT, *others[: room - 1]]]
    for group in (others[room - 1 :], singles, averages):
        blocks += [[_CT, *group[i : i + room]] for i in range(0, len(group), room)]
    return blocks


def _error(axes: Axes, view: View, error: Slice):
    body = np.where(view.mask, error, np.nan)
    mae = np.abs(error[view.mask]).mean()
    axes.set_title(f"MAE {mae:.0f} HU", fontsize=SMALL, pad=3)
    return view.show(axes, body, cmap=ERROR_COLOURS, vmin=ERROR_WINDOW[0], vmax=ERROR_WINDOW[1])


def _sides(axes: Axes) -> None:
    for x, side in ((0.02, "R"), (0.98, "L")):
        axes.text(
            x,
            0.97,
            side,
            transform=axes.transAxes,
            color="white",
            fontsize=FONT,
            ha="left" if side == "R" else "right",
            va="top",
        )


def _binned(axes: Axes, spread: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]) -> None:
    order = np.argsort(spread, kind="stable")
    x, y = ([part.mean() for part in np.array_split(v[order], BINS)] for v in (spread, error))
    axes.plot(x, y, "o-", color="black", markersize=3, linewidth=1, label="measured")
    axes.axline(
        (0, 0),
        slope=GAUSSIAN,
        color="0.5",
        linestyle="--",
        linewidth=1,
        label="calibrated",
    )


def _same_limits(plots: list[Axes]) -> None:
    ends = [np.max(line.get_data()) for axes in plots for line in axes.get_lines()[:1]]
    limit = 1.08 * max(1.0, *ends)
    for number, axes in enumerate(plots):
        axes.set(xlim=(0, limit), ylim=(0, limit))
        axes.set_xlabel("spread (HU)", fontsize=SMALL, labelpad=2)
        axes.tick_params(labelsize=SMALL, length=2, pad=2, labelleft=number == 0)
        axes.locator_params(nbins=4)
    plots[0].set_ylabel("mean |error| (HU)", fontsize=SMALL, labelpad=2)
    plots[0].legend(fontsize=SMALL, loc="upper left", frameon=False, handlelength=1.6)


def _require_slices(ct: Slice, mask: np.ndarray, planes: Mapping[str, np.ndarray]) -> None:
    for name, plane in {"mask": mask, **planes}.items():
        if np.ndim(plane) != 2 or plane.shape != ct.shape:
            raise InputError(
                f"The picture needs one slice a map and '{name}' has shape {np.shape(plane)} "
                f"beside the CT's {ct.shape}: give slices [x, y] of one grid."
            )
    if not np.any(mask):
        raise InputError("The mask of the pictured slice is empty: choose a slice with body in it.")
