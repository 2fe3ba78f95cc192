"""`metrics.jsonl`: one JSON object a line, {"step", "group", figures}."""

import contextlib
import json
from pathlib import Path
from typing import Any

from sde_ct.storage.whole import whole


def read(path: Path) -> list[dict[str, Any]]:
    """The lines, without one that a kill or a full disk cut short."""
    lines = []
    if Path(path).is_file():
        for text in Path(path).read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines.append(line)
    return lines


def drop_after(path: Path, step: int) -> None:
    """Leave out what came after `step`: those steps are trained anew, each stands here once."""
    path = Path(path)
    kept = [line for line in read(path) if line["step"] <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    if path.is_file() and path.read_text("utf-8", errors="replace") != text:
        with whole(path) as partial:
            partial.write_text(text)
