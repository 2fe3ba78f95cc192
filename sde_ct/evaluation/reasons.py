"""Sentences on cases that were refused, doubted or measured in part."""

from collections.abc import Sequence
from pathlib import Path

from sde_ct.evaluation.table import Row


def unmeasured(rows: Sequence[Row]) -> list[str]:
    """A sentence for each patient whose real CT shows only part of the body."""
    shares = {row.patient: row.figures.get("unmeasured") for row in rows}
    return [
        f"{patient}: {share:.1f} % of the body was not measured by the real CT and is left out."
        for patient, share in shares.items()
        if share
    ]


def by_reason(refused: Sequence[dict]) -> list[tuple[str, str, str]]:
    """Method, cases and reason, with one entry for all cases of a method with the same reason."""
    cases: dict[tuple[str, str], list[str]] = {}
    for one in refused:
        cases.setdefault((one["method"], one["reason"]), []).append(one["case"])
    return [(method, ", ".join(names), reason) for (method, reason), names in cases.items()]


def without_parents(reason: str, places: Sequence[Path]) -> str:
    """The reason without the parents of the given folders, which differ between machines."""
    for place in sorted(places, key=lambda path: -len(str(path))):
        if place.name and place.parent != Path():  # "." and "/" have no name
            reason = reason.replace(str(place), place.name)
    return reason
