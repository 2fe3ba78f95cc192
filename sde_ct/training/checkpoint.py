"""Checkpoints: everything that training carries from step to step, saved as one unit.

A work directory holds `checkpoints/<step>/` with

state/            parameters, moving averages and optimisers, written by Orbax
weights.msgpack   the weights for synthesis, so that it need not read all of the state
progress.json     the data iterator, the figures of a validation after this step, and counters
digest.json       the SHA-256 of every other file

The newest checkpoints are kept, and so is the best one, with the smallest validation loss.

A checkpoint is written to `<step>.*.part` and renamed when it is complete, so a save that is killed
leaves no incomplete checkpoint. The digest reveals every changed byte, which Orbax does not.
Orbax's CheckpointManager is not used because it renames a checkpoint before a digest can be added,
and because it would load a checkpoint whose removal was interrupted.
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import serialization

from sde_ct.errors import InputError
from sde_ct.storage import digest

# Errors of Orbax, TensorStore and the file system when a file can't be written or read.
FAILURES = (OSError, ValueError, KeyError, TypeError, RuntimeError)
STATE, WEIGHTS, PROGRESS = "state", "weights.msgpack", "progress.json"


@dataclass
class Progress:
    """The part of a training that lives on the host; saved together with the state."""

    step: int = 0
    validation_loss: float | None = None  # after this step; None where it was not measured
    validation: dict[str, float] | None = None  # all figures of the same validation, by name
    skipped: int = 0  # updates skipped so far, because a loss or gradient was not finite
    lately: int = 0  # updates skipped since the last scheduled checkpoint
    slowed: float = 1.0  # factor on the learning rates since a rollback
    init: dict[str, Any] | None = None  # where the first weights are from; None if random

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Progress":
        """The inverse of `dataclasses.asdict`; other keys are ignored."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})


class SaveError(Exception):
    """A checkpoint could not be written; the earlier ones are unchanged."""


class Checkpoints:
    """The checkpoints of one work directory. Only one process of a run may write to them."""

    def __init__(self, workdir: Path, keep: int | None = None):
        """`keep`: how many checkpoints a save keeps besides the best one; None keeps all."""
        self._root, self._keep = Path(workdir).absolute() / "checkpoints", keep

    @property
    def steps(self) -> list[int]:
        """The steps of all checkpoints, rising."""
        paths = self._root.iterdir() if self._root.is_dir() else ()
        return sorted(int(path.name) for path in paths if path.name.isdigit())

    @property
    def latest(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        return max(self.steps, default=None)

    @property
    def best(self) -> int | None:
        """The step with the smallest validation loss; the newest step if none has a loss."""
        return min(reversed(self.steps), key=self.validation_loss, default=None)

    @property
    def best_loss(self) -> float:
        """The smallest validation loss of all checkpoints; infinity if there is none."""
        return min(map(self.validation_loss, self.steps), default=math.inf)

    def validation_loss(self, step: int) -> float:
        """The loss saved with a step; infinity if it was not measured, is NaN or can't be read."""
        loss = self.progress(step).get("validation_loss")
        if not isinstance(loss, (int, float)) or math.isnan(loss):
            return math.inf
        return float(loss)

    def progress(self, step: int) -> dict[str, Any]:
        """The JSON values saved with a step; empty if they can't be read."""
        try:
            return dict(_progress(self.folder(step)))
        except FAILURES:
            return {}

    def folder(self, step: int) -> Path:
        return self._root / str(step)

    def save(self, step: int, state: Any, weights: Any, progress: dict[str, Any]) -> None:
        """Write `state`, a tree of replicated arrays, and the rest of a checkpoint as one unit.

        Args:
          step: the number of updates made.
          state: what training carries from step to step.
          weights: its weights for synthesis, as a Method's `weights` returns them.
          progress: JSON values.

        Raises SaveError if that fails. Orbax's threads may go on writing after a failure; the next
        save removes those files.
        """
        from sde_ct.training import orbax_state  # Orbax takes long to import

        self._remove_parts()
        # A new name each time: threads of a failed save may still write to the earlier one.
        part = self._root / f"{step}.{time.time_ns()}.part"
        try:
            part.mkdir(parents=True)
            orbax_state.write(part / STATE, state)
            tree = serialization.to_state_dict(jax.device_get(weights))
            (part / WEIGHTS).write_bytes(serialization.msgpack_serialize(tree))
            (part / PROGRESS).write_text(json.dumps(progress) + "\n")
            digest.write(part)
            part.rename(self.folder(step))
        except FAILURES as error:
            shutil.rmtree(part, ignore_errors=True)
            raise SaveError(f"{self.folder(step)} could not be written ({cause(error)})") from error
        best = self.best
        for old in self.steps[: -self._keep] if self._keep else ():
            if old != best:
                self._remove(old)

    def _remove(self, step: int) -> None:
        """Rename, then remove, so that a killed process leaves no incomplete checkpoint."""
        part = self._root / f"{step}.part"
        with contextlib.suppress(OSError):  # one checkpoint too many does no harm
            self.folder(step).rename(part)
            shutil.rmtree(part, ignore_errors=True)

    def _remove_parts(self) -> None:
        for part in self._root.glob("*.part"):
            shutil.rmtree(part, ignore_errors=True)

    def tidy(self) -> list[str]:
        """Remove the files of killed saves, and rename damaged checkpoints.

        The newest and the best checkpoint are examined until both are undamaged. Returns a sentence
        for each damaged one.
        """
        self._remove_parts()
        sentences, whole = [], None
        for choice in ("latest", "best"):
            while (step := getattr(self, choice)) not in (None, whole):
                folder = self.folder(step)
                if (fault := digest.fault(folder)) is None:
                    whole = step
                    break
                aside = _unused(folder.with_name(f"{step}.damaged"))
                folder.rename(aside)
                sentences.append(f"{folder} is damaged ({fault}): set aside as {aside.name}.")
        return sentences

    def restore(
        self, like: Callable[[], Any], step: int | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The state of a step, the newest by default, and its progress.

        Args:
          like: makes a tree of the same shapes and types; it is traced, not run.
          step: one of `steps`.

        Raises:
          InputError: the checkpoint is damaged, or was written by another version.
        """
        from sde_ct.training import orbax_state  # Orbax takes long to import

        folder = self.folder(self.latest if step is None else step)  # type: ignore[arg-type]
        _require(folder)
        try:
            return orbax_state.read(folder / STATE, like), _progress(folder)
        except Exception as error:  # TensorStore raises Exception itself for an unknown file
            raise _unreadable(folder, error) from error

    def weights(self, step: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The weights for synthesis at `step`, as dictionaries of arrays, and the step's progress.

        None if the checkpoint has no file of weights, as in earlier versions.

        Raises InputError like `restore`.
        """
        folder = self.folder(step)
        if not (folder / WEIGHTS).is_file():
            return None
        _require(folder, WEIGHTS, PROGRESS)
        try:
            tree = serialization.msgpack_restore((folder / WEIGHTS).read_bytes())
            return tree, _progress(folder)
        except FAILURES as error:
            raise _unreadable(folder, error) from error


def _require(folder: Path, *names: str) -> None:
    """Raise InputError if a file of `names`, by default any file, is missing or has changed."""
    if not folder.exists():  # the primary process chose the step, perhaps on another host
        raise InputError(
            f"{folder} can't be seen from this host: give all hosts the same --workdir."
        )
    if (fault := digest.fault(folder, *names)) is not None:
        raise InputError(
            f"{folder} is damaged ({fault}): give the command of its training again, which "
            "sets it aside and continues from another checkpoint."
        )


def _progress(folder: Path) -> dict[str, Any]:
    return json.loads((folder / PROGRESS).read_text())


def _unreadable(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"{folder} can't be read ({cause(error)}): use the version that experiment.json "
        "names, or train again."
    )


def cause(error: Exception) -> str:
    """Why a file could not be written or read, in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code := re.search(r"os_error_code='(\d+)'", str(error)):  # TensorStore's form
        return os.strerror(int(code[1]))
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _unused(path: Path) -> Path:
    """`path`, or `path-2`, … if it exists."""
    others = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(p for p in itertools.chain([path], others) if not p.exists())
