"""The folder that a preparation writes to: one request, and a split that does not change."""

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
    """Make `output` with the request in it. False where the folder already holds this request."""
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
        try:
            (partial / "cases").mkdir()
            write_json(partial / REQUEST, request)
            partial.chmod(0o755)
            os.rename(partial, output)
            return True
        except OSError:  # unless another process was first
            if not (output / REQUEST).exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    try:
        before = json.loads((output / REQUEST).read_text("utf-8"))
        changed = sorted(key for key in before | request if before.get(key) != request.get(key))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{output} exists: choose another output or remove it first") from None
    if changed:
        was = ", ".join(f"{key}: {before.get(key)} -> {request.get(key)}" for key in changed)
        raise InputError(f"{output} was prepared otherwise ({was}): choose another output")
    return False


def sweep(output: Path) -> None:
    """Remove what a killed run left half-written; only the process with the lock may do so."""
    for leftover in (output / "cases").glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)


def index_of(output: Path) -> dict[str, Any]:
    """The index of an existing data set; empty where there is none or it is damaged."""
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
    """Raise InputError where a patient would change sides: a network may have been trained."""
    before = sides(output)
    for part, names in split.items():
        for name in names:
            if before.get(name, part) != part:
                raise InputError(
                    f"{output} has patient {name} in {before[name]}, now it would be in {part}: "
                    "leave it there, or give another output"
                )


def require_apart(output: Path, source: Path) -> None:
    """Raise InputError unless the output lies beside the patients' folder."""
    out, patients = output.resolve(), source.resolve()
    wrong = {
        f"{output} is the input folder": out == patients,
        f"{output} lies in the input folder {source}": patients in out.parents,
        f"{output} holds the input folder {source}": out in patients.parents,
    }
    for what, applies in wrong.items():
        if applies:
            raise InputError(f"{what}: give another output beside it")
