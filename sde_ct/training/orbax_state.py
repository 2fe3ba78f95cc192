"""The state of a training on disk, written and read by Orbax."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging


def write(folder: Path, state: Any) -> None:
    """Write a tree of replicated arrays to a new folder. Only one process of a run may do so."""
    # Orbax would slice replicated arrays on the devices and compile a program per shape.
    arrays = ocp.args.StandardSave(jax.device_get(state))
    verbosity = logging.get_verbosity()
    # Orbax's threads would log the traceback of an error that is raised as well.
    logging.set_verbosity(logging.FATAL)
    try:
        with _orbax() as orbax:
            orbax.save(folder, args=arrays)
    finally:
        logging.set_verbosity(verbosity)


def read(folder: Path, like: Callable[[], Any]) -> Any:
    """The tree of a folder, on this process's first device.

    `like` makes a tree of the same shapes and types; it is traced, not run.
    """
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    target = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), jax.eval_shape(like)
    )
    with _orbax() as orbax:
        return orbax.restore(folder, args=ocp.args.StandardRestore(target))


def _orbax() -> ocp.Checkpointer:
    """A checkpointer that waits for no other process."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
