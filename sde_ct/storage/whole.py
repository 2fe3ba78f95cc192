"""Write files so that they appear whole or not at all."""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to an OSError of the block if the error names no file, as on a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            what = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, what, str(path)) from error
        raise


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Yield a folder to write to, and move its files to `folder` if the block succeeds."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder, prefix=".partial-"))
    try:
        yield partial
        for path in sorted(partial.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with suppress(OSError):  # a folder with results is not empty and stays
            folder.rmdir()


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, and move the file to `path` if the block succeeds.

    The temporary path has the suffix of `path`, because libraries choose a format by the suffix.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        with naming(path):
            yield partial
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read JSON. Raises OSError, or ValueError for invalid JSON and the words NaN and Infinity."""
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("too many brackets") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write JSON as UTF-8. Raises ValueError for NaN and infinite numbers."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    with whole(path) as partial:
        partial.write_text(f"{text}\n", "utf-8")
