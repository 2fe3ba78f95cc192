"""The output folder of a preparation, which keeps one request and one split."""

import json
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sde_ct.data.prepared import CASES, INDEX
from sde_ct.data.split import Split
from sde_ct.errors import InputError, first_of
from sde_ct.storage.whole import read_json, write_json

REQUEST = "request.json"


def claim(output: Path, request: dict[str, Any]) -> bool:
    """Create `output` with the request in it, or return False if it already holds this request.

    Raises InputError if `output` holds something else.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.exists():
        partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
        try:
            (partial / CASES).mkdir()
            write_json(partial / REQUEST, request)
            partial.chmod(0o755)
            os.rename(partial, output)
            return True
        except OSError:  # another process may have created it first
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
        raise InputError(
            f"{output} was prepared with other settings ({was}): choose another output"
        )
    return False


def sweep(output: Path) -> None:
    """Remove partly written patients of a killed run; only the process with the lock may do so."""
    for leftover in (output / CASES).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)


def index_of(output: Path) -> dict[str, Any]:
    """The index of an existing data set; empty if there is none or it is damaged."""
    try:
        index = json.loads((output / INDEX).read_text("utf-8"))
        return index if isinstance(index, dict) else {}
    except (OSError, ValueError):
        return {}


def sides(output: Path) -> dict[str, str]:
    """The part of the split of every patient so far, refused patients included."""
    index = index_of(output)
    try:
        split = {name: part for part, names in index.get("split", {}).items() for name in names}
        return index.get("sides", {}) | split  # older sets lack `sides`
    except (TypeError, AttributeError):
        return {}


def require_all(output: Path, names: Collection[str]) -> None:
    """Raise InputError if an existing data set holds patients who are not among `names`.

    The new index would not list them, although a network may have been trained on them.
    """
    held = index_of(output).get("cases")
    missing = sorted(set(held) - set(names)) if isinstance(held, dict) else []
    if missing:
        raise InputError(
            f"{output} holds {len(missing)} patient{'s' * (len(missing) > 1)} that this command "
            f"leaves out ({first_of(missing)}): give one --input with all patients, or another "
            "--output"
        )


def require_same_sides(output: Path, split: Split) -> None:
    """Raise InputError if a patient would change to another part of the split.

    A network may already have been trained on the existing split.
    """
    before = sides(output)
    for part, names in split.items():
        for name in names:
            if before.get(name, part) != part:
                raise InputError(
                    f"{output} has patient {name} in {before[name]}, not in {part}: leave the "
                    f"patient in {before[name]}, or give another output"
                )


def require_images(source: Path) -> None:
    """Raise InputError if the patients' folder is itself a prepared data set."""
    try:
        index = read_json(source / INDEX)
    except (OSError, ValueError):
        return
    if isinstance(index, dict) and "cases" in index:  # nnU-Net's file of this name has none
        raise InputError(
            f"{source} is a prepared data set: give the folder of images that it was made from"
        )


def require_apart(output: Path, source: Path) -> None:
    """Raise InputError if the output is, contains or lies in the patients' folder."""
    out, patients = output.resolve(), source.resolve()
    wrong = {
        f"{output} is the input folder": out == patients,
        f"{output} lies in the input folder {source}": patients in out.parents,
        f"{output} holds the input folder {source}": out in patients.parents,
    }
    for what, applies in wrong.items():
        if applies:
            raise InputError(f"{what}: give an output beside the input folder")
