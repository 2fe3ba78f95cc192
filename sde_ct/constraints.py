"""Constraints of a dataclass's fields, stated beside the fields and checked together."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from sde_ct.errors import InputError

LARGEST, LARGEST_INT = 1e30, 2**31 - 1  # within the range of float32 and int32


def number(default: Any, **constraints: Any) -> Any:
    """A dataclass field, with constraints that `check` enforces.

    Keywords:
      least: the smallest value allowed.
      over, below: numbers that values must be above and below.
      above: values must be above the field of this name in the same dataclass.
      choices: the values allowed.
      earlier: the value of the field in records that were written before the field existed.
    """
    return field(default=default, metadata=constraints)


def positive(default: Any, **constraints: Any) -> Any:
    """A field whose values are above 0."""
    return number(default, over=0, **constraints)


def at_least(least: int, default: Any, **constraints: Any) -> Any:
    """A field whose values are `least` or more."""
    return number(default, least=least, **constraints)


def choice(default: str, *others: str, **constraints: Any) -> Any:
    """A field that takes one of a few names."""
    return number(default, choices=(default, *others), **constraints)


def check(section: Any, prefix: str = "config.") -> None:
    """Raise InputError for the first field that breaks its type or a constraint.

    The fields of nested dataclasses are checked too.
    """
    hints = typing.get_type_hints(type(section))
    # Python accepts attributes that are not fields, such as misspelt ones in a recipe.
    if unknown := vars(section).keys() - {item.name for item in dataclasses.fields(section)}:
        raise InputError(f"{prefix}{min(unknown)} is not a field: check its name in the recipe.")
    for item in dataclasses.fields(section):
        name, value, hint = prefix + item.name, getattr(section, item.name), hints[item.name]
        _check_type(name, value, hint)
        if dataclasses.is_dataclass(hint):
            check(value, name + ".")
        else:
            _check_value(name, value, item.metadata)
    for item in dataclasses.fields(section):
        if low := item.metadata.get("above"):
            least, value = getattr(section, low), getattr(section, item.name)
            if not least < value:
                raise InputError(
                    f"{prefix}{low}={least} must be below {prefix}{item.name}={value}."
                )


WANTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a finite number",
    str: "a string",
    tuple[int, ...]: "whole numbers, as in (1, 2, 2)",
}


def _check_type(name: str, value: Any, hint: Any) -> None:
    if hint is float:
        fits = type(value) is int or (type(value) is float and math.isfinite(value))
    elif hint == tuple[int, ...]:
        fits = type(value) in (tuple, list) and all(type(n) is int for n in value)
    else:
        fits = type(value) is hint
    if not fits:
        raise InputError(f"{name}={value!r}: give {WANTED.get(hint, 'its own dataclass')}.")


def _check_value(name: str, value: Any, constraints: Mapping[str, Any]) -> None:
    choices, least = constraints.get("choices"), constraints.get("least")
    if choices and value not in choices:
        raise InputError(f"{name}={value!r}: give one of {', '.join(choices)}.")
    if least is not None and value < least:
        raise InputError(f"{name}={value!r}: give {least} or more.")
    if "over" in constraints and value <= constraints["over"]:
        raise InputError(f"{name}={value!r}: give a number above {constraints['over']}.")
    if "below" in constraints and not value < constraints["below"]:
        raise InputError(f"{name}={value} must be below {constraints['below']}.")
    if type(value) is int and not abs(value) <= LARGEST_INT:
        raise InputError(f"{name}={value!r}: give at most {LARGEST_INT}.")
    if type(value) is float and value and not 1 / LARGEST <= abs(value) <= LARGEST:
        raise InputError(f"{name}={value!r}: give a magnitude from {1 / LARGEST} to {LARGEST}.")
