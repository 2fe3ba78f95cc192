"""The folder that a preparation writes to: whose it is, and that it goes on as it began."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_ct.data.prepared import INDEX
from sde_ct.data.split import Split
from sde_ct.data.whole import whole
from sde_ct.errors import InputError

REQUEST = "request.json"


def claim(output: Path, request: dict[str, Any]) -> bool:
    """Whether `output` is new; it is made then, and says what is being prepared in it."""
    if not output.exists():
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
        try:
            (partial / "cases").mkdir()
            write_json(partial / REQUEST, request)
            partial.chmod(0o755)
            os.rename(partial, output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return True
    try:
        before = json.loads((output / REQUEST).read_text("utf-8"))
        changed = sorted(key for key in before | request if before.get(key) != request.get(key))
    except (OSError, ValueError, TypeError):
        raise InputError(f"{output} exists: choose another output or remove it first") from None
    if changed:
        was = ", ".join(f"{key}: {before.get(key)} -> {request.get(key)}" for key in changed)
        raise InputError(f"{output} was prepared otherwise ({was}): choose another output")
    for leftover in (output / "cases").glob(".*"):  # of a run that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    return False


def require_same_sides(output: Path, split: Split) -> None:
    """No patient changes sides in data that a network may have been trained on."""
    try:
        old = json.loads((output / INDEX).read_text("utf-8"))["split"]
        before = {name: part for part, names in old.items() for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or damaged
        return
    for part, names in split.items():
        for name in names:
            if before.get(name, part) != part:
                raise InputError(
                    f"{output} has patient {name} in {before[name]}, now it would be in {part}: "
                    "give the same patients and shares, or another output"
                )


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    with whole(path) as partial:
        partial.write_text(json.dumps(values, indent=1, ensure_ascii=False), "utf-8")
