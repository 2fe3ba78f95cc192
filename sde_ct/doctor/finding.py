"""The findings of the doctor, and their layout on one screen."""

import re
import textwrap
from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.patient_names import WITHHELD, withhold

WIDTH, GROUPS = 100, 18  # columns of a screen, and most kinds of findings on it
SHOWN, PLACES = 3, 4  # most findings shown of one kind, and most places named for each
PERSON = re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}")  # a name as DICOM writes it: Doe^Jane


class Finding(NamedTuple):
    """One problem. An error makes results wrong or impossible; a warning may make them wrong."""

    severity: Literal["error", "warning"]
    what: str
    fix: str
    where: str = ""  # a patient or file; empty if the finding concerns the whole path


class Report(NamedTuple):
    """One diagnosis."""

    title: str
    facts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    costs: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()  # words that name a patient, kept off the screen


def error(what: str, fix: str) -> Finding:
    return Finding("error", what, fix)


def warning(what: str, fix: str) -> Finding:
    return Finding("warning", what, fix)


def refused(problem: InputError) -> Finding:
    """The finding for an InputError, whose message ends with a colon and the fix."""
    what, _, fix = str(problem).rpartition(": ")
    return error(what or fix, fix)


def at(where: str, findings: Iterable[Finding]) -> list[Finding]:
    """The findings, marked with the place `where`."""
    return [finding._replace(where=where) for finding in findings]


def unnamed(text: str, secrets: Collection[str]) -> str:
    """The text without the given secrets and without any name that is written as in DICOM."""
    return withhold(PERSON.sub(WITHHELD, text), secrets)


def screen(report: Report) -> str:
    """The report in lines wrapped at `WIDTH` columns, errors first, without patients' names."""
    lines = [report.title, *(f"  {fact}" for fact in report.facts)]
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(report.findings, key=lambda f: f.severity):
        groups.setdefault((finding.severity, finding.fix), []).append(finding)
    for group in list(groups.values())[:GROUPS]:
        lines += _lines(group)
    if len(groups) > GROUPS:
        lines.append(f"and {len(groups) - GROUPS} more kinds of findings")
    if not groups:
        lines.append("healthy  nothing found")
    lines += [f"cost     {cost}" for cost in report.costs]
    return "\n".join(_wrapped(unnamed(line, report.secrets)) for line in lines)


def _lines(group: list[Finding]) -> list[str]:
    """Lines for findings of one severity and fix. Equal findings share a line with their places."""
    severity, _, fix, _ = group[0]
    places: dict[str, list[str]] = {}
    for finding in group:
        places.setdefault(finding.what, []).extend([finding.where] if finding.where else [])
    lines = []
    for what, where in list(places.items())[:SHOWN]:
        place = f"{where[0]}: " if where and not what.startswith(where[0]) else ""
        more = f" (and {_listed(where[1:])})" if where[1:] else ""
        lines.append(f"{severity:<8} {place}{what}{more}")
    if left := list(places.values())[SHOWN:]:
        named = [name for where in left for name in where] or [""] * len(left)
        lines.append(f"         and {_listed(named)}")
    return [*lines, f"         fix: {fix}"]


def _listed(places: list[str]) -> str:
    """The number of further places, and the names of the first few."""
    named = [place for place in places if place][:PLACES]
    names = ", ".join([*named, *(["…"] if len(places) > len(named) else [])])
    return f"{len(places)} more" + (f": {names}" if named else "")


def _wrapped(line: str) -> str:
    is_fact = line.startswith("  ") and not line.startswith(" " * 9)
    return textwrap.fill(
        line,
        WIDTH,
        subsequent_indent=" " * (2 if is_fact else 9),
        break_long_words=False,
        break_on_hyphens=False,
    )
