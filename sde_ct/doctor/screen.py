"""What the doctor found, and how one screen tells it."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from sde_ct.doctor.check_names import unnamed
from sde_ct.doctor.finding import Finding

WIDTH, GROUPS, SHOWN = 100, 18, 4  # columns, findings on a screen, places named for each


class Found(NamedTuple):
    """A finding and where: a patient, a file, or nothing for the whole."""

    where: str
    finding: Finding


class Report(NamedTuple):
    """One diagnosis."""

    title: str
    facts: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    costs: tuple[str, ...] = ()
    secrets: frozenset[str] = frozenset()  # words that name a patient, withheld from the screen


def at(where: str, findings: Sequence[Finding]) -> tuple[Found, ...]:
    """The findings of one place."""
    return tuple(Found(where, finding) for finding in findings)


def screen(report: Report) -> str:
    """The report as lines of at most `WIDTH` columns, errors first, without patients' names."""
    lines = [report.title, *(f"  {fact}" for fact in report.facts)]
    groups: dict[tuple[str, str], list[Found]] = {}
    for found in sorted(report.found, key=lambda f: f.finding.severity):
        groups.setdefault((found.finding.severity, found.finding.mend), []).append(found)
    for number, ((severity, mend), some) in enumerate(groups.items()):
        if number == GROUPS:
            lines.append(f"and {len(groups) - GROUPS} kinds of findings more")
            break
        lines += _told(severity, some, mend)
    if not groups:
        lines.append("healthy  nothing found")
    lines += [f"cost     {cost}" for cost in report.costs]
    return "\n".join(_wrapped(unnamed(line, report.secrets)) for line in lines)


def _told(severity: str, some: list[Found], mend: str) -> list[str]:
    first, *others = some
    what = first.finding.what
    if first.where and not what.startswith(first.where):
        what = f"{first.where}: {what}"
    if others:
        names = [found.where for found in others[:SHOWN] if found.where]
        more = ", …" if len(others) > len(names) else ""
        what += f" (and {len(others)} more: {', '.join(names)}{more})"
    lines = [f"{severity:<8} {what}"]
    return [*lines, f"         mend: {mend}"] if mend else lines


def _wrapped(line: str) -> str:
    indent = " " * (9 if not line.startswith("  ") or line.startswith(" " * 9) else 2)
    return textwrap.fill(
        line, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
