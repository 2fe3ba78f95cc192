"""The training curves of several runs in one picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sde_ct.report.html.contents import Picture
from sde_ct.report.html.pictures import png

Records = Sequence[Mapping[str, Any]]
COLUMNS = 4
STYLES = {"train": ("0.6", "-", 1.0), "validation": ("#0072B2", "o-", 1.4)}  # colour, line, width


def read_curves(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """Run -> its records, from `runs/*/metrics.jsonl`; a line cut off by a crash is left out."""
    found = {}
    for path in sorted(runs.glob("*/metrics.jsonl")):
        records = []
        for line in path.read_text("utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        found[path.parent.name] = records
    return found


def picture(curves: Mapping[str, Records]) -> Picture | None:
    """Loss against training step, a panel a run; None where no run has a loss."""
    series = {run: _losses(records) for run, records in curves.items()}
    series = {run: groups for run, groups in series.items() if any(groups.values())}
    if not series:
        return None
    columns = min(COLUMNS, len(series))
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.3, 2.3 * lines), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (run, groups) in zip(panels, series.items(), strict=False):
        for group, points in groups.items():
            colour, line, width = STYLES[group]
            axes.plot(*zip(*sorted(points.items()), strict=True), line, color=colour,
                      linewidth=width, markersize=3, label=group)  # fmt: skip
        axes.set_title(run, fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        if all(y > 0 for points in groups.values() for y in points.values()):
            axes.set_yscale("log")
    for axes in panels[len(series) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("loss", fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    return Picture("Training", _words(series), png(figure))


def _losses(records: Records) -> dict[str, dict[int, float]]:
    """Group -> step -> loss; of a step that a resumed run did again, the newer one."""
    return {
        group: points
        for group in STYLES
        if (points := {r["step"]: r["loss"] for r in records if _is_loss(r, group)})
    }


def _is_loss(record: Mapping[str, Any], group: str) -> bool:
    """A step whose loss was not finite has null for it."""
    return record.get("group") == group and record.get("loss") is not None and "step" in record


def _words(series: Mapping[str, Mapping[str, Mapping[int, float]]]) -> str:
    parts = []
    for run, groups in series.items():
        for group, points in groups.items():
            first, last = min(points), max(points)
            parts.append(
                f"{run}, {group}: {points[first]:.3g} at step {first}, {points[last]:.3g} at {last}"
            )
    return f"Loss against training step. {'; '.join(parts)}."
