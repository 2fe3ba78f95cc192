"""Errors in flags and in overrides of `--config`, as one sentence each."""

import dataclasses
import difflib
import re
import sys
from collections.abc import Sequence

from absl import flags

# absl's and Python's words for a wrong value, and what to write instead.
VALUES = (
    (r"invalid literal for int\(\).*", "give a whole number"),
    (r"could not convert string to float.*", "give a number"),
    (r"\(?'?Non-boolean argument to boolean flag.*", "give true or false"),
    (r"\S+ is not (an )?integer", "give an integer"),  # the bounds follow
    (r"\S+ is not (a )?number", "give a number"),
    (r"\S+ is not a ", "give a "),
)
MISSING = re.compile(r"flag --([\w.]+)=None: Flag --[\w.]+ must have a value other than None\.?")
UNKNOWN = re.compile(r"Unknown command line flag '([^']*)'\.?(?: Did you mean: (.*?) ?\?)?")
CHOICES = re.compile(r"value should be one of <(.*)>")
FIELD = re.compile(
    r"Field (?P<name>\w+) not found on dataclass <class '(?P<kind>.*)'>"
    r"|Attribute <class '(?P<kind2>.*)'>\.(?P<name2>\w+) does not exist"
)


def flag_sentence(error: flags.Error) -> str:
    """What is wrong with a flag, and what to write instead."""
    text = " ".join(str(error).split())
    if missing := MISSING.findall(text):
        verb = "is" if len(missing) == 1 else "are"
        return f"{_listed(['--' + name for name in missing])} {verb} missing: see --help"
    if unknown := UNKNOWN.fullmatch(text):
        name, near = unknown.groups()
        near = " or ".join(f"--{one.strip()}" for one in (near or "").split(",") if one.strip())
        return f"--{name} is not a flag of this program: " + (
            f"did you mean {near}?" if near else "see --help"
        )
    text = re.sub(r"^flag (?=--)", "", text)
    for words, instead in VALUES:
        text = re.sub(words, instead, text)
    return CHOICES.sub(lambda found: "give one of " + found[1].replace("|", ", "), text)


def field_sentence(error: Exception) -> str:
    """Why an override of `--config` names no field, with a field of a similar name."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    if not (found := FIELD.search(text)):
        return f"--config: {text}: check the field's name"
    name, kind = found["name"] or found["name2"], found["kind"] or found["kind2"]
    module, _, owner = kind.rpartition(".")
    known = getattr(sys.modules.get(module), owner, None)
    names = [one.name for one in dataclasses.fields(known)] if known else []
    near = difflib.get_close_matches(name, names, 1)
    instead = f"did you mean {near[0]!r}?" if near else "check its name"
    return f"--config: there is no field {name!r}: {instead}"


def _listed(names: Sequence[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
