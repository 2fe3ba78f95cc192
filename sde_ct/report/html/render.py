"""Render the page from its template.

Jinja and `_as_json` escape all text. If that ever failed, the content security policy would still
allow only the page's own script and style, by their hashes, and nothing from outside.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from sde_ct.report.figures import ERROR_COLOURS, ERROR_WINDOW, SPREAD_COLOURS
from sde_ct.report.html import calibration_section, sums_section, training_curves
from sde_ct.report.html.metric_tables import Table, by_patient, over_patients
from sde_ct.report.html.report_content import Picture, Report
from sde_ct.report.layout import OUTSIDE

SCRIPTS = ("volumes.js", "plots.js", "viewer.js")
PANES = {
    "mr": "MR",
    "ct": "CT",
    "sct": "Synthetic CT",
    "error": "Signed error",
    "spread": "Spread of the draws",
}


class Static(NamedTuple):
    """Tables and pictures, which do not depend on the volumes that are shown."""

    summary: list[Table]
    cases: Table | None  # None if the table takes too many bytes
    figures: list[dict[str, str]]
    curves: dict[str, str] | None


def static_parts(report: Report) -> Static:
    """Draw the tables and pictures of a report."""
    drawn = [calibration_section.picture(report.judgements)] if report.judgements else []
    calibrated = [calibration_section.table(report.judgements)] if report.judgements else []
    training = training_curves.picture(report.curves)
    return Static(
        summary=over_patients(report.rows) + calibrated + sums_section.tables(report.judgements),
        cases=by_patient(report.rows),
        figures=[_embedded(picture) for picture in (*drawn, *report.figures)],
        curves=_embedded(training) if training else None,
    )


def render(
    report: Report,
    static: Static,
    patients: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
    provenance: Mapping[str, Any],
) -> str:
    """The page's text.

    Args:
        static: the result of `static_parts`.
        patients: the data of `patient_data.encode_patient`.
        notes: sentences that say which patients and slices are in the page.
        provenance: that of the report, with the hashes of the volumes shown.
    """
    scripts = ("tables.js", *(SCRIPTS if patients else ()))
    script, style = "".join(map(_read, scripts)), _read("style.css")
    measured = any(finding.verdict != "not measured" for finding in report.findings)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_read("page.html")).render(
        **static._asdict(),
        title=report.title,
        policy=_policy(script, style),
        script=Markup(script),
        style=Markup(style),
        warnings=report.warnings,
        findings=report.findings if measured else (),
        patients=[{"name": data["name"], "json": _as_json(data)} for data in patients],
        notes=notes,
        panes=list(PANES.items()),
        colours=_as_json(_colours()),
        provenance={heading: list(_flat(tree)) for heading, tree in provenance.items()},
    )


def _as_json(value: Any) -> Markup:
    """JSON for a script element, escaped so that it cannot end the element."""
    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))


def _policy(script: str, style: str) -> str:
    """A policy that allows only this script, this style and pictures inside the file."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{_base64(hashlib.sha256(text.encode()).digest())}"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _embedded(picture: Picture) -> dict[str, str]:
    source = f"data:image/png;base64,{_base64(picture.png)}"
    return {"title": picture.title, "alt": picture.alt, "source": source}


def _colours() -> dict[str, Any]:
    """The colour maps of the static figures, 256 RGBA pixels each."""
    names = {"error": ERROR_COLOURS, "spread": SPREAD_COLOURS}
    tables = {k: matplotlib.colormaps[n](np.arange(256), bytes=True) for k, n in names.items()}
    return {
        **{kind: _base64(table.tobytes()) for kind, table in tables.items()},
        "errorWindow": list(ERROR_WINDOW),
        "outside": round(255 * OUTSIDE),
    }


def _flat(tree: Any, name: str = "") -> Iterable[tuple[str, str]]:
    """The leaves of a tree, named a.b.c. A list of plain values is one leaf."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _flat(value, f"{name}.{key}" if name else str(key))
    elif not isinstance(tree, list | tuple):
        yield name, "-" if tree is None else str(tree)
    elif any(isinstance(value, Mapping | list) for value in tree):
        for number, value in enumerate(tree):
            yield from _flat(value, f"{name}[{number}]")
    else:
        yield name, ", ".join(map(str, tree))
