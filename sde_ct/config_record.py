"""A configuration as plain values, in the records of trainings and synthetic CTs."""

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
    """The inverse of `to_dict`; unknown fields and missing `SECTIONS` are an InputError.

    A field that an older record lacks gets the value that keeps the behaviour of that time: the
    field's `earlier`, or its default if that is the same. A section that the record lacks gets
    its defaults.
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
