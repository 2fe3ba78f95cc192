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
from sde_ct.evaluation.statistics import compare
from sde_ct.evaluation.table import Row, Statistics, summarise
from sde_ct.storage.whole import whole
from sde_ct.uncertainty.intervals import LEVEL, RESAMPLES, SEED, bootstrap_interval, caveat

CSV_NAME, JSON_NAME = "metrics.csv", "metrics.json"
COMPARED = ("mae", "psnr", "ssim")


def write_metrics(
    directory: Path,
    rows: Sequence[Row],
    protocol: Protocol,
    settings: Mapping[str, Any],
    *,
    refused: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write both files; the same arguments give the same bytes.

    `metrics.json` holds `protocol` with all its constants, `settings`, `cases` (as in the CSV),
    `refused`, and over patients `summary`: mean, std, min, max, median, q25, q75, n and the
    interval of the mean per method and figure; `comparisons` of the methods in `COMPARED`
    figures; `statistics`, what those two are; and `caveat`, null where patients are enough. A
    figure that was not measured or is not finite is empty in the CSV and null in the JSON.

    Args:
        settings: how the predictions were made (draws, steps, slices ...), JSON-ready.
        refused: the cases that could not be evaluated and why, JSON-ready.

    Raises:
        InputError: a file is there already, or `summarise` refuses the rows.
    """
    record = {
        "protocol": constants(protocol),
        "settings": dict(settings),
        "cases": [_case(r) for r in rows],
        "refused": [dict(case) for case in refused],
        **_over_patients(rows),
    }
    contents = {CSV_NAME: _csv(rows), JSON_NAME: _json(record)}
    refuse_existing(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in contents.items():
        _place(directory / name, text)


def _over_patients(rows: Sequence[Row]) -> dict[str, Any]:
    """What the rows say of the methods, with the patients as the unit."""
    summary = summarise(rows)
    patients = sorted({r.patient for r in rows})
    by_place = {(r.method, r.patient): r for r in rows}

    def values(method: str, figure: str) -> list[float | None]:
        return [getattr(by_place[method, patient], figure) for patient in patients]

    def entry(method: str, figure: str, found: Statistics) -> dict[str, Any]:
        finite = [v for v in values(method, figure) if v is not None and math.isfinite(v)]
        return found._asdict() | {"interval": bootstrap_interval(finite)}

    return {
        "summary": {
            method: {figure: entry(method, figure, found) for figure, found in figures.items()}
            for method, figures in summary.items()
        },
        "comparisons": {
            figure: [c._asdict() for c in compare({m: values(m, figure) for m in summary})]
            for figure in COMPARED
        },
        "statistics": {
            "interval": "bias-corrected and accelerated bootstrap of the mean over patients",
            "interval_level": LEVEL,
            "resamples": RESAMPLES,
            "seed": SEED,
            "comparison": "Wilcoxon signed-rank, two-sided, Holm-corrected within a figure",
        },
        "caveat": caveat(len(patients)),
    }


def refuse_existing(directory: Path, others: Sequence[str] = ()) -> None:
    """Raise an `InputError` where `write_metrics`, or a file named in `others`, would overwrite."""
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file: choose another output directory.")
    for name in (CSV_NAME, JSON_NAME, *others):
        if (directory / name).exists():
            raise InputError(f"{directory / name} exists already: choose another directory.")


def write_json(path: Path, record: Any) -> None:
    """Any tree of JSON's types, whole or not at all; figures that are not finite become null."""
    _place(path, _json(record))


def _place(path: Path, text: str) -> None:
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


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
