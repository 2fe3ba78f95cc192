"""The folder that a preparation writes to: whose it is, and that it goes on as it began."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sde_ct.data.prepared import INDEX
from sde_ct.data.split import Split
from sde_ct.errors import InputError
from sde_ct.storage.whole import write_json

REQUEST = "request.json"


def claim(output: Path, request: dict[str, Any]) -> bool:
    """Whether `output` is new; it is made then, and says what is being prepared in it."""
    if not output.exists() and _made(output, request):
        return True
    try:
        before = json.loads((output / REQUEST).read_text("utf-8"))
        changed = sorted(key for key in before | request if before.get(key) != request.get(key))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{output} exists: choose another output or remove it first") from None
    if changed:
        was = ", ".join(f"{key}: {before.get(key)} -> {request.get(key)}" for key in changed)
        raise InputError(f"{output} was prepared otherwise ({was}): choose another output")
    return False


def _made(output: Path, request: dict[str, Any]) -> bool:
    """Make the folder whole or not at all; False where another process was first."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    try:
        (partial / "cases").mkdir()
        write_json(partial / REQUEST, request)
        partial.chmod(0o755)
        os.rename(partial, output)
    except OSError:
        if not (output / REQUEST).exists():
            raise
        return False
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return True


def sweep(output: Path) -> None:
    """Take away what a run that was killed left half-written; for the process that has the lock."""
    for leftover in (output / "cases").glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)


def index_of(output: Path) -> dict[str, Any]:
    """The index of an existing data set; empty where there is none yet, or a damaged one."""
    try:
        index = json.loads((output / INDEX).read_text("utf-8"))
        return index if isinstance(index, dict) else {}
    except (OSError, ValueError):
        return {}


def sides(output: Path) -> dict[str, str]:
    """The part of the split that every patient of an existing data set is in."""
    try:
        split = index_of(output).get("split", {})
        return {name: part for part, names in split.items() for name in names}
    except (TypeError, AttributeError):
        return {}


def require_same_sides(output: Path, split: Split) -> None:
    """No patient changes sides in data that a network may have been trained on."""
    before = sides(output)
    for part, names in split.items():
        for name in names:
            if before.get(name, part) != part:
                raise InputError(
                    f"{output} has patient {name} in {before[name]}, now it would be in {part}: "
                    "leave it there, or give another output"
                )


def require_apart(output: Path, source: Path) -> None:
    """An output beside the patients' folder: neither may be taken for, or lost with, the other."""
    out, patients = output.resolve(), source.resolve()
    if out == patients:
        raise InputError(f"{output} is the input folder: give another output beside it")
    if patients in out.parents:
        raise InputError(f"{output} lies in the input folder {source}: give an output beside it")
    if out in patients.parents:
        raise InputError(f"{output} holds the input folder {source}: give an output beside it")
