"""The figures as files: `metrics.csv`, a line per case, and `metrics.json` with the summary."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import Protocol, constants
from sde_ct.evaluation.table import Row, summarise

CSV_NAME, JSON_NAME = "metrics.csv", "metrics.json"


def write_metrics(
    directory: Path, rows: Sequence[Row], protocol: Protocol, settings: Mapping[str, Any]
) -> None:
    """Write both files; the same rows, protocol and settings give the same bytes.

    `metrics.json` holds `protocol` with all its constants, `settings`, `cases` (as in the CSV) and
    `summary`: mean, std, min, max, median, q25, q75 and n per method and figure. A figure that
    was not measured or is not finite is empty in the CSV and null in the JSON.

    Args:
        settings: how the predictions were made (draws, steps, slices ...), JSON-ready.

    Raises:
        InputError: a file is there already, or `summarise` refuses the rows.
    """
    record = {
        "protocol": constants(protocol),
        "settings": dict(settings),
        "cases": [_case(r) for r in rows],
        "summary": {
            method: {name: s._asdict() for name, s in figures.items()}
            for method, figures in summarise(rows).items()
        },
    }
    contents = {CSV_NAME: _csv(rows), JSON_NAME: _json(record)}
    refuse_existing(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        with open(directory / name, "x", encoding="utf-8", newline="") as file:
            file.write(text)


def refuse_existing(directory: Path) -> None:
    """Raise an `InputError` where `write_metrics` would overwrite something."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file: choose another output directory.")
    for name in (CSV_NAME, JSON_NAME):
        if (directory / name).exists():
            raise InputError(f"{directory / name} exists already: choose another directory.")


def write_json(path: Path, record: Any) -> None:
    """Any tree of JSON's types; figures that are not finite become null."""
    path.write_text(_json(record), encoding="utf-8")


def _case(r: Row) -> dict[str, Any]:
    return dict(zip((f.name for f in fields(r)), astuple(r), strict=True))


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f.name for f in fields(Row))
    for r in rows:
        writer.writerow("" if v is None else v for v in _finite(list(astuple(r))))
    return text.getvalue()


def _json(record: Any) -> str:
    return json.dumps(_finite(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """The same tree with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
