"""Checkpoints: the training state and the data iterator as one unit, by Orbax.

A work directory holds `experiment.json` (configuration, data, versions: a checkpoint explains
itself) and `checkpoints/<step>/`. Orbax writes a step under another name and renames it when it
is complete, so a step that is there is whole.
"""

import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sde_ct.config import Experiment, differences, from_dict, to_dict
from sde_ct.errors import InputError

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
    path = Path(workdir) / "experiment.json"
    if path.parent.exists() and not path.parent.is_dir():
        raise InputError(f"{workdir} is a file: give a folder as --workdir.")
    if path.exists():
        stored, stored_data = read_experiment(workdir)
        odd = differences(stored, config)
        if odd:
            raise InputError(
                f"{workdir} was trained with another configuration ({'; '.join(odd)}): "
                "give another --workdir, or the same configuration."
            )
        if stored_data != json.loads(json.dumps(data)):
            raise InputError(
                f"{workdir} was trained on other data: give another --workdir, or the same --data."
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"config": to_dict(config), "data": data, "versions": versions()}
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


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


class Checkpoints:
    """The checkpoints of one work directory."""

    def __init__(self, workdir: Path, keep: int | None = 2):
        """`keep`: how many of the newest stay; None opens them to read and writes nothing."""
        self._manager = ocp.CheckpointManager(
            Path(workdir).absolute() / "checkpoints",
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=keep is not None, enable_async_checkpointing=False
            ),
        )

    @property
    def latest(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: Any, iterator: dict[str, Any]) -> None:
        """Write `state` (a tree of arrays, replicated) and `iterator` (JSON) as one unit."""
        # From the host: Orbax would cut every replicated array in pieces, one program a shape.
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(jax.device_get(state)), iterator=ocp.args.JsonSave(iterator)
        )
        self._manager.save(step, args=arguments)

    def restore(self, like: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
        """The newest state, shaped as `like()` is, and the iterator's state.

        Raises InputError where Orbax finds the checkpoint damaged; not every damage is found.
        """
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), jax.eval_shape(like)
        )
        arguments = ocp.args.Composite(
            state=ocp.args.StandardRestore(target), iterator=ocp.args.JsonRestore()
        )
        try:
            restored = self._manager.restore(self.latest, args=arguments)
        except (OSError, ValueError, KeyError, TypeError) as error:  # Orbax's, for what it misses
            folder = self._manager.directory / str(self.latest)
            raise InputError(
                f"{folder} is damaged: remove it to go on from the checkpoint before it, or train "
                "again."
            ) from error
        return restored.state, restored.iterator

    def close(self) -> None:
        self._manager.close()
