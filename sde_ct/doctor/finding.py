"""What a check returns."""

from typing import Literal, NamedTuple

from sde_ct.errors import InputError


class Finding(NamedTuple):
    """One thing wrong. An error gives wrong results or none; a warning may."""

    severity: Literal["error", "warning"]
    what: str
    mend: str


def error(what: str, mend: str) -> Finding:
    return Finding("error", what, mend)


def warning(what: str, mend: str) -> Finding:
    return Finding("warning", what, mend)


def refused(problem: InputError) -> Finding:
    """The sentence with which a reader refuses; its mend follows the last colon."""
    what, _, mend = str(problem).rpartition(": ")
    return Finding("error", what or mend, mend)
