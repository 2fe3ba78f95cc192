"""The rows as tables that a page can sort."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sde_ct.evaluation.columns import Column
from sde_ct.evaluation.table import COLUMNS, Row, Statistics, summarise

# Caption -> the groups of columns shown under it.
TABLES = {
    "Accuracy and cost": ("main", "more"),
    "By tissue": ("tissue",),
    "The draws": ("draws",),
}


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
    for caption, columns in _by_caption().items():
        present = [c for c in columns if any(c.name in found for found in summary.values())]
        lines = [
            [Cell(method, method), *(_statistics(found.get(c.name), c.digits) for c in present)]
            for method, found in summary.items()
            if any(c.name in found for c in present)
        ]
        if lines:
            head = ["method", *(c.title for c in present)]
            tables.append(Table(f"{caption}, mean ± standard deviation over patients", head, lines))
    return tables


def by_patient(rows: Sequence[Row]) -> Table:
    """A line a method and patient, every figure measured."""
    columns = [
        column
        for group in _by_caption().values()
        for column in group
        if any(number(r.figures.get(column.name), 0).key for r in rows)
    ]
    lines = [
        [
            Cell(r.method, r.method),
            Cell(r.patient, r.patient),
            *(number(r.figures.get(c.name), c.digits) for c in columns),
        ]
        for r in rows
    ]
    return Table("Every patient", ["method", "patient", *(c.title for c in columns)], lines)


def _by_caption() -> dict[str, list[Column]]:
    """The columns of each table, those of the terminal's table first."""
    return {
        caption: [column for group in groups for column in COLUMNS if column.group == group]
        for caption, groups in TABLES.items()
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
