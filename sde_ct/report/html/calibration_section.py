"""The calibration of the draws as a table and a picture."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sde_ct.report.html.metric_tables import Cell, Table, number
from sde_ct.report.html.report_content import Picture
from sde_ct.uncertainty.judgement import Judged, Judgements, OverPatients, nominal

TITLES = {  # name and digits of each score over patients
    "spread_skill": ("spread-skill", 2),
    "range_coverage": ("coverage of the range", 3),
    "crps": ("CRPS (HU)", 1),
    "ence": ("ENCE", 2),
    "ause": ("AUSE", 3),
}
CAPTION = (
    "Are the draws calibrated? There is one line for each patient; dashed lines are those of "
    "calibrated draws. Above: share of voxels inside intervals of the draws, against the nominal "
    "share. Middle: rank of the CT among the draws. Below: error of the mean by number of draws; "
    "dotted: the estimate for infinitely many draws."
)
LINE: dict[str, Any] = {"color": "#0072B2", "linewidth": 1.0, "alpha": 0.75}
DOTS: dict[str, Any] = {"marker": "o", "markersize": 2.5, **LINE}
RIGHT: dict[str, Any] = {"color": "0.5", "linestyle": "--", "linewidth": 1.0}


def table(judgements: Judgements) -> Table:
    """A line for each method and tissue: means over patients with their 95 % intervals."""
    lines = [
        [Cell(method, method), Cell(tissue, tissue)]
        + [_cell(scores.get(name), digits) for name, (_, digits) in TITLES.items()]
        for method, judged in judgements.items()
        for tissue, scores in judged.over_patients.items()
    ]
    heads = [title for title, _ in TITLES.values()]
    if (right := nominal(judgements)) is not None:
        heads[1] += f" ({right:.3f} is right)"
    caption = "Calibration of the draws, means over patients with 95 % bootstrap intervals"
    return Table(caption, ["method", "tissue", *heads], lines)


def _cell(score: OverPatients | None, digits: int) -> Cell:
    if score is None:
        return Cell("-", "")
    cell, (low, high) = number(score.mean, digits), score.interval
    if not np.isfinite([low, high]).all():
        return cell
    return cell._replace(deviation=f"[{low:.{digits}f}, {high:.{digits}f}]")


def picture(judgements: Judgements) -> Picture:
    """Coverage, rank histogram and error by number of draws, with a line for each patient."""
    columns = len(judgements)
    figure = Figure(figsize=(2.6 * columns + 0.6, 6.6), dpi=150, layout="constrained")
    panels = figure.subplots(3, columns, squeeze=False, sharey="row")
    rows: list[tuple[str, Callable[[Axes, Sequence[Judged]], None]]] = [
        ("share of voxels inside", _draw_coverage),
        ("rank's share / uniform", _draw_ranks),
        ("RMSE of the mean (HU)", _draw_errors),
    ]
    for line, (title, draw) in zip(panels, rows, strict=True):
        for axes, judged in zip(line, judgements.values(), strict=True):
            draw(axes, list(judged.patients.values()))
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(title, fontsize=9)
        line[0].set_ylim(bottom=0)  # shared by the row; set last, so that the top fits all panels
    for axes, method in zip(panels[0], judgements, strict=True):
        axes.set_title(method, fontsize=10)
    words = []
    for method, judged in judgements.items():
        scores = [(t, d, judged.over_patients["all"].get(name)) for name, (t, d) in TITLES.items()]
        words.append(f"{method}: " + ", ".join(f"{t} {s.mean:.{d}f}" for t, d, s in scores if s))
    alt = f"Calibration of the draws over the body. {'; '.join(words)}."
    return Picture.drawn(CAPTION, alt, figure)


def _draw_coverage(axes: Axes, cases: Sequence[Judged]) -> None:
    axes.plot([0, 1], [0, 1], **RIGHT)
    for judged in cases:
        coverage = judged.by_tissue["all"].coverage
        axes.plot(coverage.nominal, coverage.observed, **DOTS)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("nominal share", fontsize=9)


def _draw_ranks(axes: Axes, cases: Sequence[Judged]) -> None:
    for judged in cases:
        shares = judged.by_tissue["all"].ranks.shares
        axes.stairs(shares * len(shares), np.linspace(0, 1, len(shares) + 1), **LINE)
    axes.axhline(1.0, **RIGHT)
    axes.set(xlim=(0, 1), xticks=[0, 1], xticklabels=["below all", "above all"])
    below, above = axes.get_xticklabels()
    below.set_horizontalalignment("left")
    above.set_horizontalalignment("right")


def _draw_errors(axes: Axes, cases: Sequence[Judged]) -> None:
    for judged in cases:
        axes.plot(judged.by_draws.draws, judged.by_draws.rmse, **DOTS)
        axes.axhline(judged.by_draws.limit, linestyle=":", **LINE)
    axes.set_xlabel("draws averaged", fontsize=9)
