"""The training curves of several runs in one picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from sde_ct.report.html.report_content import Picture

Records = Sequence[Mapping[str, Any]]
COLUMNS = 4
STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": "0.6", "linewidth": 1.0},
    "validation": {"color": "#0072B2", "linewidth": 1.4, "marker": "o", "markersize": 3},
}


def read_curves(runs: Path) -> dict[str, list[dict[str, Any]]]:
    """{run: its records} from `runs/*/metrics.jsonl`, without lines truncated by a crash."""
    curves = {}
    for path in sorted(runs.glob("*/metrics.jsonl")):
        records = []
        for line in path.read_text("utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        curves[path.parent.name] = records
    return curves


def picture(curves: Mapping[str, Records]) -> Picture | None:
    """Loss against training step, with a panel for each run; None where no run has a loss."""
    series = {run: losses for run, records in curves.items() if (losses := _losses(records))}
    if not series:
        return None
    columns = min(COLUMNS, len(series))
    lines = -(-len(series) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.3, 2.3 * lines), dpi=150, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    words = []
    for axes, (run, groups) in zip(panels, series.items(), strict=False):
        for group, points in groups.items():
            axes.plot(*zip(*sorted(points.items()), strict=True), label=group, **STYLES[group])
            first, last = min(points), max(points)
            ends = f"{points[first]:.3g} at step {first}, {points[last]:.3g} at {last}"
            words.append(f"{run}, {group}: {ends}")
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
    alt = f"Loss against training step. {'; '.join(words)}."
    return Picture.drawn("Training", alt, figure)


def _losses(records: Records) -> dict[str, dict[int, float]]:
    """{group: {step: the last loss recorded for it}}, without losses that were not finite."""
    losses: dict[str, dict[int, float]] = {}
    for record in records:
        if record.get("group") in STYLES and record.get("loss") is not None and "step" in record:
            losses.setdefault(record["group"], {})[record["step"]] = record["loss"]
    return {group: losses[group] for group in STYLES if group in losses}
