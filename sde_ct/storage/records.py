"""Read JSON records back as the types that they were written from.

A record may have been edited by hand or damaged, so every field is checked.
"""

import contextlib
import inspect
import math
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import AbstractArray


class Limit(NamedTuple):
    """A condition on the values of an `Annotated` type."""

    holds: Callable[[Any], bool]
    words: str  # the condition, for a message


Positive = Annotated[float, Limit(lambda n: n > 0, "a number above 0")]
NotNegative = Annotated[float, Limit(lambda n: n >= 0, "a number of 0 or more")]
Share = Annotated[float, Limit(lambda n: 0 < n < 1, "a number above 0 and below 1")]
Count = Annotated[int, Limit(lambda n: n > 0, "a whole number above 0")]

PLAIN: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a finite number"),
    str: ((str,), "a text"),
}
LARGEST = 1e300  # a number beyond is infinite or comes from damage; no measurement is so large


def restored(hint: Any, value: Any, name: str = "it") -> Any:
    """Convert a JSON value to the type `hint`.

    `hint` is `Any`, a type of `PLAIN`, an `Annotated` type with a `Limit`, a union, a literal, a
    container, an array of jaxtyping, or a class with fields. A class is read by its method
    `from_json` if it has one, and otherwise by `built`.

    Raises ValueError, which names the first field that does not fit.
    """
    kind, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if kind is typing.NotRequired:
        return restored(args[0], value, name)
    if kind is Annotated:
        found = restored(args[0], value, name)
        _require(args[1].holds(found), name, value, args[1].words)
        return found
    if kind in (typing.Union, types.UnionType):
        if value is None and types.NoneType in args:
            return None
        *others, last = (arg for arg in args if arg is not types.NoneType)
        for other in others:
            with contextlib.suppress(ValueError):
                return restored(other, value, name)
        return restored(last, value, name)
    if kind is typing.Literal:
        _require(value in args, name, value, f"one of {', '.join(args)}")
        return value
    if kind in (dict, Mapping):
        _require(isinstance(value, dict), name, value, "an object")
        key, item = args
        return {restored(key, key(k)): restored(item, v, f"{name}.{k}") for k, v in value.items()}
    if kind in (tuple, list, Sequence):
        fixed = kind is tuple and args[-1] is not Ellipsis
        _require(isinstance(value, list | tuple), name, value, "a list")
        _require(not fixed or len(value) == len(args), name, value, f"a list of {len(args)}")
        items = args if fixed else args[:1] * len(value)
        pairs = enumerate(zip(items, value, strict=True))
        found = [restored(item, one, f"{name}[{i}]") for i, (item, one) in pairs]
        return found if kind is list else tuple(found)
    if issubclass(hint, AbstractArray):
        return _array(hint, value, name)
    if hasattr(hint, "from_json"):
        try:
            return hint.from_json(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    if hint not in PLAIN:
        return built(hint, value, name)
    kinds, words = PLAIN[hint]
    fits = type(value) in kinds and (type(value) in (bool, str) or abs(value) < LARGEST)
    _require(fits, name, value, words)
    return value


def built(kind: type, record: Any, name: str = "") -> Any:
    """Make an object of a class from a record of its fields.

    Other entries of the record are ignored, but a TypedDict keeps them. Raises ValueError as
    `restored` does, or if the record lacks a required field.
    """
    _require(isinstance(record, dict), name or "it", record, "an object")
    needed = getattr(kind, "__required_keys__", None)  # of a TypedDict
    if needed is None:
        parameters = inspect.signature(kind).parameters.values()
        needed = [p.name for p in parameters if p.default is p.empty]
    if lost := [one for one in needed if one not in record]:
        raise ValueError(f"{name or 'it'} lacks {min(lost)!r}")
    hints = typing.get_type_hints(kind, include_extras=True)
    given = {k: v for k, v in record.items() if k in hints}
    place = f"{name}." if name else ""
    values = {k: restored(hints[k], v, place + k) for k, v in given.items()}
    return record | values if issubclass(kind, dict) else kind(**values)


def _array(hint: Any, value: Any, name: str) -> np.ndarray:
    try:
        array = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.array(math.nan)
    fits = isinstance(array, hint) and bool(np.isfinite(array).all())
    _require(fits, name, value, f"an array of numbers ({hint.dim_str})")
    return array


def _require(holds: bool, name: str, value: Any, words: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {reprlib.repr(value)}, not {words}")
