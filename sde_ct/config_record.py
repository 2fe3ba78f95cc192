"""Configurations as plain values, to record them and to compare two of them."""

import dataclasses
import typing
from typing import Any

from sde_ct.config import Experiment
from sde_ct.errors import InputError

# Every record has had these sections since the first version.
SECTIONS = ("method", "sde", "network", "diffusion", "adversarial", "data", "training", "sampling")


def to_dict(config: Experiment) -> dict[str, Any]:
    """Plain nested dictionaries, for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], kind: type = Experiment) -> Any:
    """The inverse of `to_dict`. Raises InputError for unknown fields and missing `SECTIONS`.

    A field that an older record lacks gets the value that keeps the record's behaviour: the
    field's `earlier` if it has one, else its default. A missing section gets its defaults.
    """
    if not isinstance(values, dict):
        raise InputError(f"The stored configuration has {values!r} in place of a section.")
    hints = typing.get_type_hints(kind)
    wanted = set(SECTIONS) if kind is Experiment else set()
    if odd := sorted((set(values) - set(hints)) | (wanted - set(values))):
        raise InputError(f"The stored configuration does not fit this version: {', '.join(odd)}.")
    earlier = {
        item.name: item.metadata["earlier"]
        for item in dataclasses.fields(kind)
        if "earlier" in item.metadata
    }
    given = {name: _restore(value, hints[name]) for name, value in values.items()}
    return kind(**(earlier | given))


def _restore(value: Any, hint: type) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(value, hint)
    return tuple(value) if isinstance(value, list) else value


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """{"sde.beta_min": 0.1, ...}: every field under its full name."""
    flat = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        name = prefix + item.name
        if dataclasses.is_dataclass(value):
            flat.update(flatten(value, name + "."))
        else:
            flat[name] = tuple(value) if isinstance(value, list) else value
    return flat


def differences(a: Experiment, b: Experiment) -> list[str]:
    """The fields in which two configurations differ, as "name: a -> b"."""
    left = flatten(a)
    return [f"{name}: {left[name]} -> {value}" for name, value in changes(a, b).items()]


def changes(a: Experiment, b: Experiment) -> dict[str, Any]:
    """The fields of `b` that differ from those of `a`, by name."""
    left = flatten(a)
    return {name: value for name, value in flatten(b).items() if left[name] != value}
