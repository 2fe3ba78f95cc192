"""Parts of the figures: the layout of a comparison, binned errors, colours."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from sde_ct.errors import InputError
from sde_ct.report.panels import FONT, SMALL, Slice

BINS = 10  # of equal numbers of voxels
COLUMNS = 6
GAUSSIAN = np.sqrt(2 / np.pi)  # E|error| / standard deviation
MR, CT = object(), object()  # in `blocks`: no method's name
# Told apart by colour-blind readers (Okabe & Ito 2008).
PALETTE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
    "#999999",
)  # fmt: skip


def colours(count: int) -> list[str]:
    """So many colours, repeated where there are more lines than colours."""
    return [PALETTE[i % len(PALETTE)] for i in range(count)]


def blocks(names: list[str]) -> list[list]:
    """The names in rows: those without an average, single draws, averages; wrapped, CT first."""
    averages = [n for n in names if n.endswith("-M") and n[:-2] in names]
    singles = [n for n in names if f"{n}-M" in averages]
    others = [n for n in names if n not in averages and n not in singles]
    room = COLUMNS - 1  # beside the CT
    blocks = [[MR, CT, *others[: room - 1]]]
    for group in (others[room - 1 :], singles, averages):
        blocks += [[CT, *group[i : i + room]] for i in range(0, len(group), room)]
    return blocks


def sides(axes: Axes) -> None:
    """Mark the patient's right and left."""
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


def binned(axes: Axes, spread: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]) -> None:
    """Mean |error| against mean spread in bins by spread, and what calibrated draws would show."""
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


def same_limits(plots: list[Axes]) -> None:
    """One square range for all plots of `binned`, labels on the first."""
    ends = [np.max(line.get_data()) for axes in plots for line in axes.get_lines()[:1]]  # type: ignore[arg-type]
    limit = 1.08 * max(1.0, *ends)
    for number, axes in enumerate(plots):
        axes.set(xlim=(0, limit), ylim=(0, limit))
        axes.set_xlabel("spread (HU)", fontsize=SMALL, labelpad=2)
        axes.tick_params(labelsize=SMALL, length=2, pad=2, labelleft=number == 0)
        axes.locator_params(nbins=4)
    plots[0].set_ylabel("mean |error| (HU)", fontsize=SMALL, labelpad=2)
    plots[0].legend(fontsize=SMALL, loc="upper left", frameon=False, handlelength=1.6)


def require_slices(ct: Slice, mask: np.ndarray, planes: Mapping[str, np.ndarray]) -> None:
    """Refuse maps that are not slices of the CT's grid, and a mask without body."""
    for name, plane in {"mask": mask, **planes}.items():
        if np.ndim(plane) != 2 or plane.shape != ct.shape:
            raise InputError(
                f"The picture needs one slice a map and '{name}' has shape {np.shape(plane)} "
                f"beside the CT's {ct.shape}: give slices [x, y] of one grid."
            )
    if not np.any(mask):
        raise InputError("The mask of the pictured slice is empty: choose a slice with body in it.")
