"""`run.json` of a work directory: every start of its training, and what it was started with."""

import hashlib
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

from sde_ct.config import Experiment, to_dict
from sde_ct.data.prepared import DTYPES, INDEX, Prepared
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.storage.whole import whole
from sde_ct.training.experiment import versions

NAME = "run.json"


def record_start(
    workdir: Path, config: Experiment, prepared: Prepared, devices: list[jax.Device], step: int
) -> None:
    """Append this start, which goes on from `step`.

    Raises InputError where the data are not those of the start before, byte for byte.
    """
    path, starts, data = Path(workdir) / NAME, _starts(workdir), data_sha256(prepared)
    if starts and starts[-1].get("data_sha256", data) != data:
        raise InputError(
            f"{workdir} was trained on other data: give another --workdir, or the same --data."
        )
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "step": step,
            "command": [sys.executable, *sys.argv],
            "git": git_state(),
            "versions": {"python": platform.python_version(), **versions()},
            "system": platform.platform(),
            "devices": [f"{device.platform} {device.device_kind}" for device in devices],
            "processes": jax.process_count(),
            "data": str(prepared.folder),
            "data_sha256": data,
            "config": to_dict(config),
        }
    )
    with whole(path) as partial:
        partial.write_text(json.dumps({"starts": starts}, indent=1) + "\n")


def _starts(workdir: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((Path(workdir) / NAME).read_text())["starts"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []  # a record only: a damaged one keeps nobody from training


def data_sha256(prepared: Prepared) -> str:
    """Of the index and every array of a prepared data set, in hex."""
    total = hashlib.sha256((prepared.folder / INDEX).read_bytes())
    for case in prepared.cases.values():
        for name in DTYPES:
            total.update(bytes.fromhex(sha256(case.folder / f"{name}.npy")))
    return total.hexdigest()


def git_state() -> dict[str, Any] | None:
    """The commit that this program is of, and the files changed since; None outside of git."""
    root = Path(__file__).resolve().parents[2]
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True,
                timeout=20,
            ).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--", "."))
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    if not (root / "pyproject.toml").is_file():  # installed below another project's folder
        return None
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}
