"""Checkpoints: all that training carries from step to step, as one unit.

A work directory holds `checkpoints/<step>/` with

state/          parameters, moving averages and optimisers, by Orbax
progress.json   the data iterator and what else the host carries
digest.json     the SHA-256 of every other file

A step is written under a name `<step>.*.part` and renamed when it is complete, so a killed save
leaves none. Orbax does not find every flipped byte: the digest does, before anything is read.
A power cut may leave the newest damaged; the one before it has long been on the disk.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from sde_ct.errors import InputError
from sde_ct.storage import digest

# What Orbax, tensorstore and the file system raise where a file can't be written or read.
FAILURES = (OSError, ValueError, KeyError, TypeError, RuntimeError)


@dataclass
class Progress:
    """Where the training stands, beside the state on the devices."""

    step: int = 0
    best_loss: float = math.inf  # smallest validation loss
    best_step: int = 0  # after which it was seen
    skipped: int = 0  # updates left out because something was not finite
    lately: int = 0  # of them, those since the last scheduled checkpoint
    slowed: float = 1.0  # factor on the learning rates since a rollback

    def judge(self, loss: float) -> None:
        """Note a validation loss."""
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.step

    def to_json(self, iterator: dict[str, Any]) -> dict[str, Any]:
        best = self.best_loss if math.isfinite(self.best_loss) else None  # JSON knows no infinity
        return dataclasses.asdict(self) | {"best_loss": best, "iterator": iterator}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> tuple["Progress", dict[str, Any]]:
        """The progress and the iterator's state."""
        values = dict(values)
        iterator, best = values.pop("iterator"), values.pop("best_loss")
        return cls(**values, best_loss=math.inf if best is None else best), iterator


class SaveError(Exception):
    """A checkpoint could not be written; those before it are as they were."""


class Checkpoints:
    """The checkpoints of one work directory; of several processes one opens them to write."""

    def __init__(self, workdir: Path, keep: int | None = 2):
        """`keep`: how many of the newest stay; None opens them to read and writes nothing."""
        self._root, self._keep = Path(workdir).absolute() / "checkpoints", keep
        me = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
        )
        self._orbax = ocp.Checkpointer(
            ocp.StandardCheckpointHandler(multiprocessing_options=alone),
            multiprocessing_options=alone,
        )

    @property
    def steps(self) -> list[int]:
        """The steps that were saved, rising."""
        found = self._root.iterdir() if self._root.is_dir() else ()
        return sorted(int(path.name) for path in found if path.name.isdigit())

    @property
    def latest(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        return max(self.steps, default=None)

    def folder(self, step: int) -> Path:
        return self._root / str(step)

    def save(self, step: int, state: Any, progress: dict[str, Any]) -> None:
        """Write `state` (a tree of arrays, replicated) and `progress` (JSON) as one unit.

        Raises SaveError, the checkpoints as they were, where that fails; what Orbax's threads
        still write then, the next save or start clears.
        """
        self._clear()
        # A name of its own: threads of a save that failed may still write under the last one.
        part = self._root / f"{step}.{time.time_ns()}.part"
        try:
            part.mkdir(parents=True)
            # From the host: Orbax would cut every replicated array in pieces, a program a shape.
            arrays = ocp.args.StandardSave(jax.device_get(state))
            with _quiet():
                self._orbax.save(part / "state", args=arrays)
            (part / "progress.json").write_text(json.dumps(progress) + "\n")
            digest.write(part)
            part.rename(self.folder(step))
        except FAILURES as error:
            shutil.rmtree(part, ignore_errors=True)
            raise SaveError(f"{self.folder(step)} could not be written ({cause(error)})") from error
        for old in self.steps[: -self._keep] if self._keep else ():
            self._remove(old)

    def _remove(self, step: int) -> None:
        """A removal that is killed half-way must not leave half a checkpoint."""
        part = self._root / f"{step}.part"
        try:
            self.folder(step).rename(part)
        except OSError:
            return  # one checkpoint too many does no harm
        shutil.rmtree(part, ignore_errors=True)

    def _clear(self) -> None:
        """Remove what killed and failed saves left."""
        for part in self._root.glob("*.part"):
            shutil.rmtree(part, ignore_errors=True)

    def tidy(self) -> list[str]:
        """Clear what killed saves left; set newest checkpoints aside until one is whole.

        Returns a sentence for each that was set aside. It is renamed, not removed.
        """
        self._clear()
        told = []
        for step in reversed(self.steps):
            fault = digest.fault(self.folder(step))
            if fault is None:
                break
            aside = _unused(self.folder(step).with_name(f"{step}.damaged"))
            self.folder(step).rename(aside)
            told.append(f"{self.folder(step)} is damaged ({fault}): set aside as {aside.name}.")
        return told

    def restore(
        self, like: Callable[[], Any], step: int | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The state of a step, the newest by default, shaped as `like()` is, and its progress.

        Raises InputError where the checkpoint is damaged, or of another version.
        """
        folder = self.folder(self.latest if step is None else step)  # type: ignore[arg-type]
        if not folder.exists():  # of several processes the first chooses the step
            raise InputError(
                f"{folder} can't be seen from here: give all hosts the same --workdir."
            )
        fault = digest.fault(folder)
        if fault is not None:
            raise InputError(
                f"{folder} is damaged ({fault}): give the command of its training again, which "
                "sets it aside and goes on from the one before it."
            )
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), jax.eval_shape(like)
        )
        try:
            arrays = ocp.args.StandardRestore(target)
            state = self._orbax.restore(folder / "state", args=arrays)
            return state, json.loads((folder / "progress.json").read_text())
        except Exception as error:  # TensorStore raises the bare class on a file of another kind
            raise InputError(
                f"{folder} can't be read ({cause(error)}): use the version that "
                "experiment.json names, or train again."
            ) from error

    def close(self) -> None:
        self._orbax.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracebacks that Orbax's threads log of an error that they raise as well."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def cause(error: Exception) -> str:
    """One short line that says why."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))  # as tensorstore tells it
    if code:
        return os.strerror(int(code[1]))
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def _unused(path: Path) -> Path:
    """`path`, or `path-2`, … where it is taken."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
