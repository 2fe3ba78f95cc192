"""The path lengths of a plan as a table for a terminal, as CSV and as JSON."""

import csv
import io
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from sde_ct.uncertainty.ranges import RangeRow, TargetRanges
from sde_ct.uncertainty.text import aligned


def lines(ranges: TargetRanges) -> list[str]:
    """The table of one patient for a terminal, with a sentence on its columns."""
    head = ["gantry", "rays", "nominal", "mean", "spread", "interval"]
    head += ["real", "error"] if ranges.figures.real is not None else []
    table = [head]
    for row in ranges.rows():
        cells = [row.name + "°" * (row.gantry is not None), str(row.rays)]
        cells += [f"{value:.1f}" for value in (row.nominal, row.mean)]
        cells += [f"{row.spread:.2f}", _interval(row)]
        if ranges.figures.real is not None:
            cells += [_shown(row.real, ".1f"), _shown(row.error, "+.1f")]
        table.append(cells)
    what = (
        "Water-equivalent path lengths in mm, to the target's centre and over all rays to its "
        f"surface; the interval is the {ranges.interval}"
    )
    what += "." if ranges.figures.real is None else ", and the error is nominal minus real."
    return [*aligned(table), what, *filter(None, [ranges.guarantee])]


def _interval(row: RangeRow) -> str:
    return f"{row.lower:.1f} to {row.upper:.1f}" if isfinite(row.lower) else "-"


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None or not isfinite(value) else format(value, form)


def csv_text(rows: Mapping[Any, Sequence[RangeRow]], keys: Sequence[str] = ()) -> str:
    """The rows as CSV, lengths in mm. A value that is missing or not finite is an empty cell.

    Args:
        rows: by a tuple of the values of `keys`, such as method and patient.
    """
    measured = any(row.real is not None for of_key in rows.values() for row in of_key)
    names = ["nominal", "mean", "spread", "lower", "upper", *["real", "error"] * measured]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "gantry_degrees", "rays", *(f"{name}_mm" for name in names)])
    for key, of_key in rows.items():
        for row in of_key:
            values = [plain(getattr(row, name)) for name in names]
            cells = ["" if value is None else value for value in values]
            writer.writerow([*key, row.name, row.rays, *cells])
    return text.getvalue()


def record(ranges: TargetRanges) -> dict[str, Any]:
    """All figures of one patient as JSON values, mm and degrees; points are RAS mm."""
    figures, rows = ranges.figures, [row._asdict() for row in ranges.rows()]
    lower, upper = ranges.bounds
    columns = {"gantry": ranges.rays.gantry, "end": ranges.rays.ends, "nominal": figures.nominal}
    columns |= {"mean": figures.mean, "spread": figures.spread, "lower": lower, "upper": upper}
    if figures.real is not None:
        columns["real"] = figures.real
    return {
        **ranges.plan.to_json(),
        "unit": "mm",
        "draws": len(figures.lengths),
        "interval": ranges.interval,
        "guarantee": ranges.guarantee or None,
        "rows": [{name: plain(value) for name, value in row.items()} for row in rows],
        "rays": {name: plain(column.tolist()) for name, column in columns.items()},
    }


def plain(value: Any) -> Any:
    """Numbers rounded to 1e-4, and None for those that are not finite."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return round(value, 4) if isfinite(value) else None
    return value
