"""The chart of the acceptance benchmark."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from sde_ct.report.layout import DPI, FONT, SMALL

KINDS = {  # of points: label, colour and marker
    "unseen": ("unseen", "#0072B2", "o"),
    "shifted": ("scanner shift", "#E69F00", "^"),
    "faulty": ("faults whose CT is known", "#CC79A7", "x"),
}


def chart(found: Mapping[str, Any]) -> Figure:
    """True against predicted MAE where the CT is known, and the share passed against scanner shift.

    Args:
      found: the record of `lab.benchmark.acceptance_results.record`.
    """
    figure = Figure(figsize=(9, 3.9), dpi=DPI)
    left, right = figure.subplots(1, 2)
    strengths = {f"{one['strength']:g}" for one in found["shift"]}
    points: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for one in found["patients"]:
        if "body" in one["errors"]:
            kind = "unseen" if one["group"] == "unseen" else "faulty"
            kind = "shifted" if one["group"] in strengths else kind
            points[kind].append((one["predicted_mae_hu"]["body"], one["errors"]["body"]))
    for kind, (label, colour, marker) in KINDS.items():
        if points[kind]:
            left.plot(*np.transpose(points[kind]), marker, color=colour, label=label, markersize=4)
    ends = np.array(sorted(v for some in points.values() for pair in some for v in pair))[[0, -1]]
    left.plot(ends, ends, "k--", linewidth=1)
    left.set(xscale="log", yscale="log")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    left.set_xlabel("predicted MAE in the body (HU)", fontsize=FONT)
    left.set_ylabel("true MAE in the body (HU)", fontsize=FONT)
    left.legend(fontsize=SMALL)
    x = [0.0, *(one["strength"] for one in found["shift"])]
    alarms = found["false_alarms"] / found["unseen"]
    passed = [1 - alarms, *(one["passed"] / one["patients"] for one in found["shift"])]
    right.plot(x, passed, "o-", color="#0072B2")
    right.set_ylim(-0.03, 1.03)
    right.set_xlabel("scanner shift, from the training's to another scanner", fontsize=FONT)
    right.set_ylabel("share passed", fontsize=FONT)
    for axes in (left, right):
        axes.tick_params(labelsize=SMALL)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    return figure
