"""Write files so that they appear whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to, and move the file to `path` if the block succeeds.

    The name is in the same folder and has the same suffix, because libraries choose a format by the
    suffix.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a tree of JSON's types, without NaN and infinite numbers, as `write_json` writes it.

    Raises OSError, or ValueError if the file holds no such tree.
    """
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too many brackets") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number")


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write a tree of JSON's types as UTF-8. Raises ValueError for NaN and infinite numbers."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    with whole(path) as partial:
        partial.write_text(f"{text}\n", "utf-8")
