"""`report.html`: all results of an evaluation in one file that needs no network.

Its viewer (viewer.js) shows slices on 2D canvases. NiiVue 0.69 (2.3 MB) would need a WebGL context
for each of the five panes and whole files instead of selected slices. It draws labels and colour
bars into the picture, where keyboard, screen readers and print styles cannot use them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.report.html.patient_data import FEW_SLICES, Encoded, depth_of, encode_patient, plan
from sde_ct.report.html.render import Static, render, static_parts
from sde_ct.report.html.report_content import PatientView, Report
from sde_ct.storage.whole import whole

NAME = "report.html"
LIMIT = 20_000_000  # bytes of the file
REST = 500_000  # bytes reserved for the viewer itself and the notes on the volumes


def write_report(path: Path, report: Report, *, overwrite: bool = False) -> None:
    """Write the page completely or not at all; the same report gives the same bytes.

    To stay below `LIMIT` bytes, the page leaves out the table of every patient if this table takes
    half of the limit or leaves no room for volumes. Then the page leaves out draws and slices far
    from the middle (see `patient_data`), and the last patients (see `_within`), and says so. The
    page exceeds the limit only if its tables, pictures or single slices are too large.

    Raises:
        InputError: the file exists and `overwrite` is false, volumes of a patient lie on
            different grids, or `summarise` refuses the rows.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already: choose another output or remove the file.")
    static = static_parts(report)
    size = _bytes(report, static)
    if size > LIMIT / 2:
        shorter = static._replace(cases=None)
        less = _bytes(report, shorter)
        if size - less > LIMIT / 2 or size + REST > LIMIT:
            static, size = shorter, less
    encoded = _within(report.patients, LIMIT - REST - size)
    provenance = dict(report.provenance)
    if hashes := {patient.data["name"]: patient.hashes for patient in encoded}:
        provenance["Volumes shown: SHA-256 of the MR and of rounded HU"] = hashes
    notes = [*filter(None, [report.choice]), *_parts_shown(encoded, list(report.patients))]
    text = render(report, static, [patient.data for patient in encoded], notes, provenance)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _bytes(report: Report, static: Static) -> int:
    """The bytes of the page without volumes."""
    return len(render(report, static, [], [], report.provenance).encode())


def _within(patients: Mapping[str, Callable[[], PatientView]], budget: float) -> list[Encoded]:
    """Encode the first patients, each with an equal share of the budget.

    Their number is the largest for which the first patient's share holds `FEW_SLICES` slices, or
    all of his slices if he has fewer. It is at least 1.
    """
    if not patients:
        return []
    first, *others = patients.values()
    view = first()
    count, enough = len(patients), min(FEW_SLICES, depth_of(view))
    while count > 1 and plan(view, budget / count).slices < enough:
        count -= 1
    encoded = [encode_patient(view, budget / count)]
    del view  # only one patient at a time is in memory
    return encoded + [encode_patient(load(), budget / count) for load in others[: count - 1]]


def _parts_shown(encoded: list[Encoded], names: list[str]) -> list[str]:
    """A sentence on what the page shows of the volumes, in a list; empty if it shows all."""
    parts = [patient.shown for patient in encoded if patient.shown]
    if len(encoded) < len(names):
        parts.append(f"not shown: {', '.join(names[len(encoded) :])}")
    if not parts:
        return []
    return [
        f"To stay below {LIMIT // 10**6} MB, this page shows only a part of the volumes "
        f"({'; '.join(parts)})."
    ]
