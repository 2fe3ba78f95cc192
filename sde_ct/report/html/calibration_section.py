"""The judgement of the draws as a table and a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sde_ct.report.html.contents import Picture
from sde_ct.report.html.metric_tables import Cell, Table, number
from sde_ct.uncertainty.judgement import Judged, Judgements, OverPatients, nominal

TITLES = {  # of the figures of `over_patients`, with digits
    "spread_skill": ("spread-skill", 2),
    "range_coverage": ("coverage of the range", 3),
    "crps": ("CRPS (HU)", 1),
    "ence": ("ENCE", 2),
    "ause": ("AUSE", 3),
}
CAPTION = (
    "Are the draws calibrated? A line a patient, dashed what calibrated draws would show. Above: "
    "share of voxels within intervals of the draws against the nominal share. Middle: rank of the "
    "CT among the draws. Below: error of the mean of the first draws, dotted where infinitely many "
    "would end."
)
LINE: dict[str, Any] = {"color": "#0072B2", "linewidth": 1.0, "alpha": 0.75}
RIGHT: dict[str, Any] = {"color": "0.5", "linestyle": "--", "linewidth": 1.0}


def table(judgements: Judgements) -> Table:
    """A line a method and tissue: means over patients, in brackets their 95 % intervals."""
    lines = []
    for method, judged in judgements.items():
        for tissue, found in judged.over_patients.items():
            figures = [_cell(found.get(name), digits) for name, (_, digits) in TITLES.items()]
            lines.append([Cell(method, method), Cell(tissue, tissue), *figures])
    caption = "Calibration of the draws, means over patients with 95 % bootstrap intervals"
    heads = [title for title, _ in TITLES.values()]
    if (right := nominal(judgements)) is not None:
        heads[1] += f" ({right:.3f} is right)"
    return Table(caption, ["method", "tissue", *heads], lines)


def picture(judgements: Judgements) -> Picture:
    """Of the whole body, a line a patient: coverage, rank histogram, error by number of draws."""
    columns = len(judgements)
    figure = Figure(figsize=(2.6 * columns + 0.6, 6.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(3, columns, squeeze=False, sharey="row")
    for (top, middle, bottom), (method, judged) in zip(panels.T, judgements.items(), strict=True):
        cases = list(judged.patients.values())
        top.set_title(method, fontsize=10)
        _coverage(top, cases)
        _ranks(middle, cases)
        _errors(bottom, cases)
    titles = ("share of voxels inside", "rank's share / uniform", "RMSE of the mean (HU)")
    for line, title in zip(panels, titles, strict=True):
        line[0].set_ylabel(title, fontsize=9)
        for axes in line:
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
    for shared in panels[1:, 0]:  # only now are the highest values of all panels known
        shared.set_ylim(bottom=0)
    return Picture.drawn(CAPTION, _words(judgements), figure)


def _coverage(axes: Axes, cases: Sequence[Judged]) -> None:
    axes.plot([0, 1], [0, 1], **RIGHT)
    for judged in cases:
        coverage = judged.by_tissue["all"].coverage
        axes.plot(coverage.nominal, coverage.observed, "o-", markersize=2.5, **LINE)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("nominal share", fontsize=9)


def _ranks(axes: Axes, cases: Sequence[Judged]) -> None:
    for judged in cases:
        shares = judged.by_tissue["all"].ranks.shares
        edges = np.arange(len(shares) + 1) / len(shares)
        axes.stairs(shares * len(shares), edges, **LINE)
    axes.axhline(1.0, **RIGHT)
    axes.set(xlim=(0, 1), xticks=[0, 1], xticklabels=["below all", "above all"])
    below, above = axes.get_xticklabels()
    below.set_horizontalalignment("left")
    above.set_horizontalalignment("right")


def _errors(axes: Axes, cases: Sequence[Judged]) -> None:
    for judged in cases:
        found = judged.by_draws
        axes.plot(found.draws, found.rmse, "o-", markersize=2.5, **LINE)
        axes.axhline(found.limit, linestyle=":", **LINE)
    axes.set_xlabel("draws averaged", fontsize=9)


def _cell(found: OverPatients | None, digits: int) -> Cell:
    if found is None:
        return Cell("-", "")
    cell, (low, high) = number(found.mean, digits), found.interval
    if not np.isfinite([low, high]).all():
        return cell
    return cell._replace(deviation=f"[{low:.{digits}f}, {high:.{digits}f}]")


def _words(judgements: Judgements) -> str:
    parts = []
    for method, judged in judgements.items():
        found = judged.over_patients["all"]
        said = [
            f"{title} {found[name].mean:.{digits}f}"
            for name, (title, digits) in TITLES.items()
            if name in found
        ]
        parts.append(f"{method}: {', '.join(said)}")
    return f"Calibration of the draws over the body. {'; '.join(parts)}."
