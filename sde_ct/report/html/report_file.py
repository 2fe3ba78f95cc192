"""`report.html`: everything that an evaluation found, in one file that needs no network.

The slices are shown by a small viewer of this package on 2D canvases (viewer.js, 250 lines) rather
than by NiiVue, the well-kept one. NiiVue 0.69 would fit: 2.3 MB minified, and headless Chromium
gives it WebGL2. But each of the five linked panes would take a WebGL context; the signed error
would be one more volume; colour bars, labels and cross-hair are drawn into the picture, where no
keyboard, screen reader or printer's style sheet finds them; it reads whole files, not slices that
were chosen to fit; and it would have to be kept here as a copy, for pip does not install it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.report.html.contents import PatientView, Report
from sde_ct.report.html.fitting import FEW_SLICES, depth_of, plan
from sde_ct.report.html.patient_data import Encoded, encode_patient
from sde_ct.report.html.render import Still, render, still_of
from sde_ct.storage.whole import whole

NAME = "report.html"
LIMIT = 20_000_000  # bytes of the file
REST = 500_000  # bytes kept for the viewer itself and what is said of the volumes


def write_report(path: Path, report: Report, *, overwrite: bool = False) -> None:
    """Write the page whole or not at all; the same report gives the same bytes.

    It stays below `LIMIT` bytes: a table of every patient that takes half of that is left out, then
    draws, then slices away from the middle, then patients from the end, and the page says so. Only
    pictures or single slices that are too large by themselves can exceed it.

    Raises:
        InputError: the file exists and `overwrite` is false, volumes of a patient lie on
            different grids, or `summarise` refuses the rows.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already: choose another output or remove it first.")
    still, size = _still(report)
    encoded = _within(report.patients, LIMIT - REST - size)
    hashes = {patient.data["name"]: patient.hashes for patient in encoded}
    provenance = dict(report.provenance)
    if hashes:
        provenance["Volumes shown: SHA-256 of the MR and of rounded HU"] = hashes
    text = render(
        report,
        still,
        [patient.data for patient in encoded],
        [*filter(None, [report.choice]), *_left_out(encoded, list(report.patients))],
        provenance,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _still(report: Report) -> tuple[Still, int]:
    """All of the page but volumes, without a table of every patient too large for it; its bytes."""

    def size(still: Still) -> int:
        return len(render(report, still, [], [], report.provenance).encode())

    still = still_of(report)
    if (whole := size(still)) <= LIMIT / 2:
        return still, whole
    shorter = still._replace(cases=None)
    less = size(shorter)
    if whole - less <= LIMIT / 2 and whole + REST <= LIMIT:
        return still, whole
    return shorter, less


def _within(patients: Mapping[str, Callable[[], PatientView]], budget: float) -> list[Encoded]:
    """As many patients as can be shown with `FEW_SLICES` each, an equal share for each."""
    if not patients:
        return []
    first, *others = patients.values()
    view = first()
    count, enough = len(patients), min(FEW_SLICES, depth_of(view))
    while count > 1 and plan(view, budget / count).slices < enough:
        count -= 1
    share = budget / count
    encoded = [encode_patient(view, share)]
    del view
    return encoded + [encode_patient(load(), share) for load in others[: count - 1]]


def _left_out(encoded: list[Encoded], names: list[str]) -> list[str]:
    """What a reader of the slices must know; the figures above are of everything."""
    parts = [patient.left_out for patient in encoded if patient.left_out]
    if len(encoded) < len(names):
        parts.append(f"not shown: {', '.join(names[len(encoded) :])}")
    if not parts:
        return []
    return [f"To stay below {LIMIT // 10**6} MB, this page holds of {'; '.join(parts)}."]
