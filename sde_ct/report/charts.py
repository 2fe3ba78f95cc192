"""The charts of the benchmarks: quality against cost, and draws against known probabilities."""

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sde_ct.report.layout import DPI, FONT, SMALL
from sde_ct.uncertainty.reliability import Reliability

# Colours that colour-blind readers can distinguish (Okabe & Ito 2008).
PALETTE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
# The symbol and colour of each curve. With more curves than colours, the symbol tells them apart.
LOOKS = tuple(product("o^s", PALETTE))
Curve = Mapping[str, Sequence[Mapping[str, float]]]  # "single", "average" -> points
FRONTIER_TOP = 3.0  # times the lowest error
FRONTIER = {
    "mae": "MAE in the body (HU); dashed: mean of draws",
    "crps": "CRPS of all draws (HU)",
    "energy": "energy score of all draws (HU)",
    "spread_skill": "spread over error of all draws",
}
COSTS = {"evaluations": "network evaluations of a slice", "seconds": "seconds for a slice"}


def frontier(curves: Mapping[str, Curve], title: str = "") -> Figure:
    """The figures of `FRONTIER` against each of the `COSTS`, with one line for each sampler.

    Args:
        curves: sampler -> {"single": points, "average": points}, drawn solid and, only for the MAE,
            dashed. A point has the keys of `FRONTIER` and of `COSTS`. Its costs are those of one
            draw, or of all draws that are averaged. Scores of 0 or NaN, as of a CNN, are not drawn.

    Returns:
        A figure at 200 dpi, with errors up to `FRONTIER_TOP` times the lowest.
    """
    figure = Figure(figsize=(14, 6.8), dpi=DPI)
    rows = figure.subplots(len(COSTS), len(FRONTIER), sharex="row", sharey="col")
    for row, (cost, words) in zip(rows, COSTS.items(), strict=True):
        for axes, score in zip(row, FRONTIER, strict=True):
            _lines(axes, curves, cost, score)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(words, fontsize=FONT)
            _ticks_and_grid(axes)
    for axes, (score, label) in zip(rows[0], FRONTIER.items(), strict=True):
        axes.set_title(label, fontsize=FONT)
        shown = [y for line in axes.get_lines() for y in line.get_ydata()]
        if score != "spread_skill" and shown:  # with too few steps the errors are very large
            most = min(max(shown), FRONTIER_TOP * min(shown))
            axes.set_ylim(0.95 * min(shown), 1.05 * most)
    handles, names = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="lower center", ncols=8, fontsize=SMALL)
    figure.suptitle(title, fontsize=FONT)
    figure.tight_layout(rect=(0, 0.02 + 0.03 * ceil(len(names) / 8), 1, 1))
    return figure


def _lines(axes: Axes, curves: Mapping[str, Curve], cost: str, score: str) -> None:
    """Draw a score of each sampler against a cost, and the MAE also for averages of draws."""
    for (name, curve), (symbol, colour) in zip(curves.items(), cycle(LOOKS), strict=False):
        for kind, line, label in (("single", "-", name), ("average", "--", None)):
            known = [p for p in curve.get(kind, ()) if p[score] > 0]  # false for NaN
            if known and (kind == "single" or score == "mae"):
                points = sorted(known, key=lambda p: p[cost])
                x, y = ([p[key] for p in points] for key in (cost, score))
                style = f"{symbol}{line}"
                axes.plot(x, y, style, color=colour, markersize=2.5, linewidth=1, label=label)


def _ticks_and_grid(axes: Axes) -> None:
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.3)


def reliability(samplers: Mapping[str, Reliability], title: str = "") -> Figure:
    """Share of bone-like draws against the probability of bone given the MR.

    The line of a correct sampler is the diagonal. Error bars are 95 % Wilson intervals; grey
    squares are the shares among the training patients, where known. All `samplers` must have the
    same priors. The figure has 200 dpi.
    """
    figure = Figure(figsize=(4.2, 4.2), dpi=DPI)
    axes = figure.subplots()
    axes.axline((0, 0), slope=1, color="0.5", linestyle="--", linewidth=1, label="right")
    if trained := next((r for r in samplers.values() if r.seen), None):
        shares = [o.share for o in trained.seen]  # type: ignore[union-attr]
        axes.plot(trained.priors, shares, "s", color="0.6", markersize=5, label="training patients")
    for number, ((name, r), (symbol, colour)) in enumerate(
        zip(samplers.items(), cycle(LOOKS), strict=False)
    ):
        x = r.priors + 0.012 * (number - (len(samplers) - 1) / 2)  # separates the intervals
        y = np.array([o.share for o in r.outcomes])
        ends = np.array([(o.share - o.low, o.high - o.share) for o in r.outcomes]).T
        style: dict[str, Any] = {"markersize": 3, "linewidth": 1, "capsize": 2, "label": name}
        axes.errorbar(x, y, ends, fmt=f"{symbol}-", color=colour, **style)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    axes.set_xlabel("probability of bone, given the MR", fontsize=FONT)
    axes.set_ylabel("share of bone-like draws", fontsize=FONT)
    _ticks_and_grid(axes)
    axes.legend(fontsize=SMALL, loc="upper left", frameon=False)
    axes.set_title(title, fontsize=FONT)
    figure.tight_layout()
    return figure
