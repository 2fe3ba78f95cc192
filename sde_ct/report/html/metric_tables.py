"""The rows as tables that a page can sort."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sde_ct.evaluation.table import COLUMNS, FIGURES, Column, Row, Statistics, summarise

TISSUES = (
    Column("MAE air (HU)", "mae_air", 1),
    Column("MAE soft tissue (HU)", "mae_soft", 1),
    Column("MAE bone (HU)", "mae_bone", 1),
    Column("mean error air (HU)", "mean_error_air", 1),
    Column("mean error soft tissue (HU)", "mean_error_soft", 1),
    Column("mean error bone (HU)", "mean_error_bone", 1),
)
DRAWS = (
    Column("spread (HU)", "spread", 1),
    Column("CRPS (HU)", "crps", 1),
    Column("spread-skill", "spread_skill", 2),
    Column("rank correlation of spread and error", "spearman", 2),
)
MORE = (
    Column("mean error (HU)", "mean_error", 1),
    Column("histogram distance (HU)", "histogram_distance", 1),
    Column("fine detail", "detail", 2),
    Column("large errors", "large_errors", 4),
    Column("change between slices", "through_plane", 2),
)


class Cell(NamedTuple):
    """What is read, and what is sorted by: "" sorts last."""

    text: str
    key: str
    deviation: str = ""  # over patients, "± 2.1", or an interval


class Table(NamedTuple):
    caption: str
    head: list[str]
    lines: list[list[Cell]]


def over_patients(rows: Sequence[Row]) -> list[Table]:
    """Every method, mean and standard deviation over patients, of every figure measured."""
    summary = summarise(rows)
    tables = []
    for caption, columns in _groups().items():
        present = [c for c in columns if any(c.figure in found for found in summary.values())]
        lines = [
            [Cell(method, method), *(_statistics(found.get(c.figure), c.digits) for c in present)]
            for method, found in summary.items()
            if any(c.figure in found for c in present)
        ]
        if lines:
            head = ["method", *(c.title for c in present)]
            tables.append(Table(f"{caption}, mean ± standard deviation over patients", head, lines))
    return tables


def by_patient(rows: Sequence[Row]) -> Table:
    """A line a method and patient, every figure measured."""
    columns = [
        column
        for group in _groups().values()
        for column in group
        if any(number(getattr(r, column.figure), 0).key for r in rows)
    ]
    lines = [
        [
            Cell(r.method, r.method),
            Cell(r.patient, r.patient),
            *(number(getattr(r, c.figure), c.digits) for c in columns),
        ]
        for r in rows
    ]
    return Table("Every patient", ["method", "patient", *(c.title for c in columns)], lines)


def _groups() -> dict[str, tuple[Column, ...]]:
    """Caption -> columns; a figure that is not named above stands with the first."""
    named = {c.figure for c in (*COLUMNS, *MORE, *TISSUES, *DRAWS)}
    others = [Column(f.replace("_", " "), f, 3) for f in FIGURES if f not in named]
    return {
        "Accuracy and cost": (*COLUMNS, *MORE, *others),
        "By tissue": TISSUES,
        "The draws": DRAWS,
    }


def number(value: float | None, digits: int) -> Cell:
    """A figure; what was not measured is a dash."""
    if value is None or not np.isfinite(value):
        return Cell("-", "")
    return Cell(f"{value:.{digits}f}", repr(float(value)))


def _statistics(found: Statistics | None, digits: int) -> Cell:
    if found is None:
        return Cell("-", "")
    return number(found.mean, digits)._replace(deviation=found.deviation(digits))
