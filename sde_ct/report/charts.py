"""The charts of the benchmarks: quality against cost, and draws against known probabilities."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sde_ct.report.layout import DPI, FONT, SMALL
from sde_ct.uncertainty.reliability import Reliability

# Colours that colour-blind readers can distinguish (Okabe & Ito 2008).
PALETTE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
Curve = Mapping[str, Sequence[Mapping[str, float]]]  # "single", "average" -> points
FRONTIER_TOP = 3.0  # times the lowest error
FRONTIER = {
    "mae": "MAE in the body (HU); dashed: mean of draws",
    "ssim": "SSIM; dashed: mean of draws",
    "crps": "CRPS of the draws (HU)",
}


def frontier(curves: Mapping[str, Curve], title: str = "") -> Figure:
    """MAE, SSIM and CRPS against network evaluations, with one line for each sampler.

    Args:
        curves: sampler -> {"single": points, "average": points}, drawn solid and dashed. A point
            has `evaluations` (of all draws together), `mae` (HU), `ssim` and `crps` (HU).

    Returns:
        A figure at 200 dpi, with errors up to `FRONTIER_TOP` times the lowest.
    """
    figure = Figure(figsize=(11.4, 3.9), dpi=DPI)
    panels = figure.subplots(1, 3)
    for (name, curve), colour in zip(curves.items(), cycle(PALETTE), strict=False):
        for kind, style, label in (("single", "o-", name), ("average", "o--", None)):
            points = sorted(curve.get(kind, ()), key=lambda p: p["evaluations"])
            x = [p["evaluations"] for p in points]
            shown = FRONTIER if kind == "single" else ("mae", "ssim")  # an average has no CRPS
            for axes, score in zip(panels, shown, strict=False):
                y = [p[score] for p in points]
                axes.plot(x, y, style, color=colour, markersize=2.5, linewidth=1, label=label)
    for axes, label in zip(panels, FRONTIER.values(), strict=True):
        axes.set_xscale("log")
        axes.set_xlabel("network evaluations a slice", fontsize=FONT)
        axes.set_title(label, fontsize=FONT)
        _ticks_and_grid(axes)
    for axes in (panels[0], panels[2]):  # with too few steps the errors are very large
        lowest = min(y for line in axes.get_lines() for y in line.get_ydata())
        axes.set_ylim(0.9 * lowest, FRONTIER_TOP * lowest)
    panels[2].legend(fontsize=SMALL, loc="upper right")
    figure.suptitle(title, fontsize=FONT)
    figure.tight_layout()
    return figure


def _ticks_and_grid(axes: Axes) -> None:
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3)


def reliability(samplers: Mapping[str, Reliability], title: str = "") -> Figure:
    """Share of bone-like draws against the probability of bone given the MR.

    A sampler whose line is the diagonal is right. Error bars are 95 % Wilson intervals; grey
    squares are the shares among the training patients, where known. All `samplers` must have the
    same priors. The figure has 200 dpi.
    """
    figure = Figure(figsize=(4.2, 4.2), dpi=DPI)
    axes = figure.subplots()
    axes.axline((0, 0), slope=1, color="0.5", linestyle="--", linewidth=1, label="right")
    if trained := next((r for r in samplers.values() if r.seen), None):
        shares = [o.share for o in trained.seen]  # type: ignore[union-attr]
        axes.plot(trained.priors, shares, "s", color="0.6", markersize=5, label="training patients")
    for number, ((name, r), colour) in enumerate(
        zip(samplers.items(), cycle(PALETTE), strict=False)
    ):
        x = r.priors + 0.012 * (number - (len(samplers) - 1) / 2)  # separates the intervals
        y = np.array([o.share for o in r.outcomes])
        ends = np.array([(o.share - o.low, o.high - o.share) for o in r.outcomes]).T
        style: dict[str, Any] = {"markersize": 3, "linewidth": 1, "capsize": 2, "label": name}
        axes.errorbar(x, y, ends, fmt="o-", color=colour, **style)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel("probability of bone, given the MR", fontsize=FONT)
    axes.set_ylabel("share of bone-like draws", fontsize=FONT)
    _ticks_and_grid(axes)
    axes.legend(fontsize=SMALL, loc="upper left", frameon=False)
    axes.set_title(title, fontsize=FONT)
    figure.tight_layout()
    return figure
