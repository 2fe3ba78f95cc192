"""The rows of an evaluation as sortable tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sde_ct.evaluation.table import COLUMNS, Row, Statistics, summarise

TABLES = {  # caption -> the columns shown under it
    caption: [column for group in groups for column in COLUMNS if column.group == group]
    for caption, groups in (
        ("Accuracy and cost", ("main", "more")),
        ("By tissue", ("tissue",)),
        ("The draws", ("draws",)),
    )
}


class Cell(NamedTuple):
    """The text shown, and the key by which it is sorted; "" is sorted last."""

    text: str
    key: str
    deviation: str = ""  # over patients, "± 2.1", or an interval


class Table(NamedTuple):
    caption: str
    head: list[str]
    lines: list[list[Cell]]


def over_patients(rows: Sequence[Row]) -> list[Table]:
    """All figures of all methods, as mean ± standard deviation over patients."""
    summary = summarise(rows)
    tables = []
    for caption, columns in TABLES.items():
        present = [c for c in columns if any(c.name in of_one for of_one in summary.values())]
        lines = [
            [Cell(method, method), *(_statistics(of_one.get(c.name), c.digits) for c in present)]
            for method, of_one in summary.items()
            if any(c.name in of_one for c in present)
        ]
        if lines:
            head = ["method", *(c.title for c in present)]
            tables.append(Table(f"{caption}, mean ± standard deviation over patients", head, lines))
    return tables


def by_patient(rows: Sequence[Row]) -> Table:
    """All figures, with a line for each method and patient."""
    columns = [column for group in TABLES.values() for column in group]
    columns = [c for c in columns if any(number(r.figures.get(c.name), 0).key for r in rows)]
    lines = [
        [Cell(r.method, r.method), Cell(r.patient, r.patient)]
        + [number(r.figures.get(c.name), c.digits) for c in columns]
        for r in rows
    ]
    return Table("Every patient", ["method", "patient", *(c.title for c in columns)], lines)


def number(value: float | None, digits: int) -> Cell:
    """A figure, or a dash where it was not measured."""
    if value is None or not np.isfinite(value):
        return Cell("-", "")
    return Cell(f"{value:.{digits}f}", repr(float(value)))


def _statistics(of_one: Statistics | None, digits: int) -> Cell:
    if of_one is None:
        return Cell("-", "")
    return number(of_one.mean, digits)._replace(deviation=of_one.deviation(digits))
