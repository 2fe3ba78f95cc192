"""The records of a work directory, which let a checkpoint explain itself.

experiment.json   configuration, training data and versions
run.json          every start of the training: time, command, git state, devices, data hash
"""

import hashlib
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jax

from sde_ct.config import Experiment, validate
from sde_ct.config_record import differences, from_dict, to_dict
from sde_ct.data.intensity import Intensity
from sde_ct.data.prepared import INDEX, Prepared
from sde_ct.data.seen import Seen
from sde_ct.data.split import SplitRecord
from sde_ct.data.through_plane import Lengths
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.storage.records import Count, Positive, built
from sde_ct.storage.versions import versions
from sde_ct.storage.whole import read_json, write_json


class Described(TypedDict):
    """What `data.describe` records of the training data; earlier versions recorded less."""

    size: tuple[Count, Count]
    spacing: tuple[Positive, Positive] | None
    split: SplitRecord
    intensity: Intensity
    source: NotRequired[str]
    n4: NotRequired[bool]
    contrasts: NotRequired[list[str]]
    along_z_mm: NotRequired[Lengths | Positive | None]
    mr_percentiles: NotRequired[dict[str, float]]
    mr_voxels_sha256: NotRequired[dict[str, str]]
    seen: NotRequired[Seen | None]


class Record(TypedDict):
    """The content of experiment.json that is checked when it is read."""

    config: dict[str, Any]
    data: Described


RUN = "run.json"
OTHER_DATA = "{} was trained on other data: give another --workdir, or the same --data."


def write_experiment(workdir: Path, config: Experiment, data: dict[str, Any]) -> Experiment | None:
    """Record configuration and data, or check them against those of an earlier start.

    Returns the configuration of the earlier start, which may have had fewer steps, or None.

    Raises InputError if the directory belongs to another experiment.
    """
    path, record = Path(workdir) / "experiment.json", {"data": data, "versions": versions()}
    before = check_experiment(workdir, config, data)
    if before == config:
        return before
    if before:
        record = json.loads(path.read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record | {"config": to_dict(config)})
    return before


def check_experiment(workdir: Path, config: Experiment, data: dict[str, Any]) -> Experiment | None:
    """The configuration of the directory's checkpoints; None if it holds none.

    It is `config`, or differs from it only in having fewer `training.steps`.

    Raises InputError if the checkpoints belong to another experiment.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir} is a file: give a folder as --workdir.")
    if (workdir / INDEX).exists():
        raise InputError(f"{workdir} is a prepared data set: give another folder as --workdir.")
    saved = any((workdir / "checkpoints").glob("[0-9]*"))  # a damaged one counts too
    if not saved or not (workdir / "experiment.json").exists():
        return None
    stored, stored_data = read_experiment(workdir)
    odd = differences(stored, config)
    if stored.training.steps < config.training.steps:
        odd = [field for field in odd if not field.startswith("training.steps:")]
    if odd:
        raise InputError(
            f"{workdir} was trained with another configuration ({'; '.join(odd)}): "
            "give another --workdir, or the same configuration; only training.steps may grow."
        )
    # Only what is stored can be compared: an older version recorded less.
    known = {key: json.loads(json.dumps(data)).get(key) for key in stored_data}
    if stored_data.get("seen") and known["seen"]:
        known["seen"] = {key: known["seen"].get(key) for key in stored_data["seen"]}
    # An older version recorded one length for all frequencies, and the training keeps it.
    if isinstance(stored_data.get("along_z_mm"), float):
        known["along_z_mm"] = stored_data["along_z_mm"]
    if stored_data != known:
        raise InputError(OTHER_DATA.format(workdir))
    return stored


def read_experiment(workdir: Path) -> tuple[Experiment, dict[str, Any]]:
    """The configuration of a work directory and the description of its training data."""
    path = Path(workdir) / "experiment.json"
    if not path.is_file():
        raise InputError(
            f"{workdir} is not a work directory: it has no experiment.json; train first."
        )
    try:
        content = read_json(path)
        built(Record, content)
    except ValueError as error:
        reason = f"is damaged ({error}): restore it or train again."
        raise InputError(f"{path} {reason}") from None
    try:
        return validate(from_dict(content["config"])), content["data"]
    except InputError as error:
        raise InputError(
            f"{path}: {error} Train again, or use the version that wrote it."
        ) from None


def record_start(
    workdir: Path, config: Experiment, prepared: Prepared, devices: list[jax.Device], step: int
) -> None:
    """Append this start, which continues from `step`, to run.json.

    Raises InputError if a training that goes on gets data that differ in any byte from those of the
    previous start. At step 0 nothing was learnt from them.
    """
    path, starts, data = Path(workdir) / RUN, _starts(workdir), data_sha256(prepared)
    if step and starts and starts[-1].get("data_sha256", data) != data:
        raise InputError(OTHER_DATA.format(workdir))
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "step": step,
            "command": [sys.executable, *sys.argv],
            "git": git_state(),
            "versions": versions(),
            "system": platform.platform(),
            "devices": [f"{device.platform} {device.device_kind}" for device in devices],
            "processes": jax.process_count(),
            "data": str(prepared.folder),
            "data_sha256": data,
            "config": to_dict(config),
        }
    )
    write_json(path, {"starts": starts})


def _starts(workdir: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((Path(workdir) / RUN).read_text())["starts"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []  # a damaged record must not prevent training


def data_sha256(prepared: Prepared) -> str:
    """The SHA-256 of the index and all arrays of a prepared data set, in hex."""
    total = hashlib.sha256((prepared.folder / INDEX).read_bytes())
    for case in prepared.cases.values():
        for name in case.arrays:
            total.update(bytes.fromhex(sha256(case.folder / f"{name}.npy")))
    return total.hexdigest()


def git_state() -> dict[str, Any] | None:
    """The commit of this checkout and the files changed since; None outside git."""
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
    if not (root / "pyproject.toml").is_file():  # installed inside another project's checkout
        return None
    return {"commit": commit.strip(), "changed": [line[3:] for line in changed.splitlines()]}
