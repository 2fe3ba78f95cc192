"""Checkpoints: the training state and the data iterator as one unit, by Orbax.

A work directory holds `experiment.json` (configuration, data, versions: a checkpoint explains
itself) and `checkpoints/<step>/`. Orbax writes a step under another name and renames it when it
is complete, so a step that is there is whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from sde_ct.errors import InputError


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
