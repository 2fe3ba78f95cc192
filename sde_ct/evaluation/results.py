"""Write the figures: `metrics.csv`, a line per method and case, and `metrics.json`, a summary."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import Protocol, constants
from sde_ct.evaluation.statistics import compare
from sde_ct.evaluation.table import Row, columns_of, summarise
from sde_ct.storage.whole import whole, write_json
from sde_ct.uncertainty.intervals import LEVEL, RESAMPLES, SEED, bootstrap_interval, caveat

CSV_NAME, JSON_NAME = "metrics.csv", "metrics.json"
COST = ("nfe", "seconds")  # measures of cost, which no statistical test compares
STATISTICS = {
    "interval": "bias-corrected and accelerated bootstrap of the mean over patients",
    "interval_level": LEVEL,
    "resamples": RESAMPLES,
    "seed": SEED,
    "comparison": "Wilcoxon signed-rank, two-sided, Holm-corrected within a figure",
}


def write_metrics(
    directory: Path,
    rows: Sequence[Row],
    protocol: Protocol,
    settings: Mapping[str, Any],
    *,
    refused: Sequence[Mapping[str, Any]] = (),
    warnings: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write both files; the same arguments give the same bytes.

    `metrics.json` holds `protocol` with its constants, `settings`, `cases` (as in the CSV),
    `refused` and `warnings`. Its `summary` over patients holds mean, std, min, max, median, q25,
    q75, n and the interval of the mean per method and figure. `comparisons` compares the methods in
    the figures of group "main" except `COST`. `statistics` says how intervals and comparisons
    were computed. `caveat` is null if there are enough patients. A figure that was not measured or
    is not finite is empty in the CSV and null in the JSON.

    Args:
        settings: how the predictions were made (draws, steps, slices and so on), JSON-ready.
        refused: the cases that could not be evaluated and why, JSON-ready.
        warnings: the cases whose prediction or draws may be wrong and why, JSON-ready.

    Raises:
        InputError: one of the files exists, `directory` is a file, or `summarise` refuses the rows.
    """
    names = [column.name for column in columns_of(rows)]
    cases = [
        {"method": r.method, "patient": r.patient, **{n: r.figures.get(n) for n in names}}
        for r in rows
    ]
    record = {
        "protocol": constants(protocol),
        "settings": dict(settings),
        "cases": cases,
        "refused": [dict(case) for case in refused],
        "warnings": [dict(case) for case in warnings],
        **_over_patients(rows),
    }
    refuse_existing(directory)
    directory.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["method", "patient", *names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_finite(cases))
    with whole(directory / CSV_NAME) as partial:
        partial.write_text(table.getvalue(), encoding="utf-8", newline="")
    write_figures(directory / JSON_NAME, record)


def _over_patients(rows: Sequence[Row]) -> dict[str, Any]:
    """Summary, comparisons and caveat, with the patients as the unit."""
    patients = sorted({r.patient for r in rows})
    figures = {(r.method, r.patient): r.figures for r in rows}

    def values(method: str, name: str) -> list[float | None]:
        return [figures[method, patient].get(name) for patient in patients]

    def interval(method: str, name: str) -> dict[str, Any]:
        finite = [v for v in values(method, name) if v is not None and math.isfinite(v)]
        return {"interval": bootstrap_interval(finite)}

    summary = summarise(rows)
    return {
        "summary": {
            method: {name: s._asdict() | interval(method, name) for name, s in by_name.items()}
            for method, by_name in summary.items()
        },
        "comparisons": {
            name: [c._asdict() for c in compare({m: values(m, name) for m in summary})]
            for name in _compared(rows)
        },
        "statistics": STATISTICS,
        "caveat": caveat(len(patients)),
    }


def _compared(rows: Sequence[Row]) -> list[str]:
    """The figures of group "main" that were measured, without `COST`."""
    main = [c.name for c in columns_of(rows) if c.group == "main" and c.name not in COST]
    return [name for name in main if any(name in r.figures for r in rows)]


def refuse_existing(directory: Path, others: Sequence[str] = ()) -> None:
    """Raise an `InputError` if `directory` is a file, or holds metrics or a file in `others`."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file: choose another output directory.")
    for name in (CSV_NAME, JSON_NAME, *others):
        if (directory / name).exists():
            raise InputError(f"{directory / name} exists already: choose another directory.")


def write_figures(path: Path, record: Any) -> None:
    """Write a tree of JSON's types, with null for figures that are not finite."""
    write_json(path, _finite(record), indent=2)


def _finite(value: Any) -> Any:
    """The same tree with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
