"""`experiment.json` of a work directory: configuration, data and versions, so that a checkpoint
explains itself.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from sde_ct.config import Experiment, differences, from_dict, to_dict
from sde_ct.errors import InputError
from sde_ct.storage.whole import whole

PACKAGES = (
    *("sde-ct", "jax", "flax", "optax", "orbax-checkpoint", "diffrax", "numpy"),
    *("nibabel", "pydicom", "SimpleITK"),
)


def versions() -> dict[str, str]:
    """The installed versions that a result depends on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_experiment(workdir: Path, config: Experiment, data: dict[str, Any]) -> None:
    """Record configuration and data, or check them against those of an earlier start.

    Raises InputError where the directory belongs to another experiment.
    """
    if check_experiment(workdir, config, data):
        return
    path = Path(workdir) / "experiment.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"config": to_dict(config), "data": data, "versions": versions()}
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def check_experiment(workdir: Path, config: Experiment, data: dict[str, Any]) -> bool:
    """Whether the directory is this experiment's; False where it is nobody's yet: an earlier start
    may have recorded itself, but saved nothing.

    Raises InputError where it belongs to another.
    """
    workdir = Path(workdir)
    if workdir.exists() and not workdir.is_dir():
        raise InputError(f"{workdir} is a file: give a folder as --workdir.")
    saved = any((workdir / "checkpoints").glob("[0-9]*"))  # a damaged one is something too
    if not saved or not (workdir / "experiment.json").exists():
        return False
    stored, stored_data = read_experiment(workdir)
    odd = differences(stored, config)
    if odd:
        raise InputError(
            f"{workdir} was trained with another configuration ({'; '.join(odd)}): "
            "give another --workdir, or the same configuration."
        )
    # What an older version did not record cannot tell of other data.
    if stored_data != {key: json.loads(json.dumps(data)).get(key) for key in stored_data}:
        raise InputError(
            f"{workdir} was trained on other data: give another --workdir, or the same --data."
        )
    return True


def read_experiment(workdir: Path) -> tuple[Experiment, dict[str, Any]]:
    """The configuration and the description of the data that a work directory was trained with."""
    path = Path(workdir) / "experiment.json"
    if not path.is_file():
        raise InputError(f"{workdir} is no work directory: it has no experiment.json; train first.")
    try:
        content = json.loads(path.read_text())
        return from_dict(content["config"]), content["data"]
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or train again.") from None
