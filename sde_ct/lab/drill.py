"""The kill drill: a training that is killed many times must end like an undisturbed one.

Each kill is a SIGKILL, which a program cannot handle, at a random moment of the first save, a later
save, a training step or the start of the program.
"""

import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import read_experiment
from sde_ct.training.state import fresh_state
from sde_ct.training.telemetry import METRICS, read_metrics

KINDS = ("first save", "save", "step", "start")
PAUSE = 0.001  # seconds between two looks at the files
SAVING = 0.05  # seconds: the longest wait between the start of a save and its kill
TRIES = 10  # to kill in the first save; each try halves the longest wait


class Fate(NamedTuple):
    """How one start of the training ended."""

    kind: str | None  # one of KINDS, from the files left behind; None if the training finished
    start: int  # the step from which it continued
    step: int  # the last step in the metrics or of a checkpoint, at least `start`
    seconds: float


def until_the_end(
    command: list[str], workdir: Path, kills: int, seed: int, log: Path
) -> Iterator[Fate]:
    """Start `command` until it finishes, kill the first `kills` starts, and yield the Fate of each.

    Raises InputError if a start that was not killed fails.
    """
    rng = random.Random(seed)
    for number in range(kills + 1):
        wanted = rng.choice(("save", "save", "step", "step", "start")) if number < kills else None
        if wanted and number == 0:
            fate = _in_first_save(command, workdir, rng, log)
        else:
            fate = _one(command, workdir, wanted, rng, log)
        yield fate
        if fate.kind is None:
            return


def _in_first_save(command: list[str], workdir: Path, rng: random.Random, log: Path) -> Fate:
    """Start `command` and kill it in its first save.

    A save may be complete before its kill comes. Then the work directory is removed and the
    training starts anew, because only a training without checkpoints has a first save.
    """
    for attempt in range(TRIES):
        fate = _one(command, workdir, "first save", rng, log, SAVING / 2**attempt)
        if fate.kind in ("first save", None) or attempt == TRIES - 1:
            break
        shutil.rmtree(workdir, ignore_errors=True)
    return fate


def _one(
    command: list[str],
    workdir: Path,
    wanted: str | None,
    rng: random.Random,
    log: Path,
    saving: float = SAVING,
) -> Fate:
    """Start `command` once and kill it at a moment of the kind `wanted`; None lets it end."""
    checkpoints, lines = Checkpoints(workdir), workdir / METRICS
    start, stale, then = checkpoints.latest or 0, _saves(workdir), time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            come = _moment(wanted, workdir, lines, rng, saving) if wanted else lambda: False
            while process.poll() is None and not come():
                time.sleep(PAUSE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    seconds = time.perf_counter() - then
    steps = [line["step"] for line in read_metrics(lines) if line["group"] == "train"]
    step = max([start, *steps, *checkpoints.steps])
    if status != -signal.SIGKILL:
        if status:
            raise InputError(f"The training ended with status {status}: see {log}.")
        return Fate(None, start, step, seconds)
    if _saves(workdir) - stale:
        kind = "save" if checkpoints.steps else "first save"
    else:
        kind = "step" if step > start else "start"
    return Fate(kind, start, step, seconds)


def _moment(
    wanted: str, workdir: Path, lines: Path, rng: random.Random, saving: float
) -> Callable[[], bool]:
    """A function that returns true from a random moment of the kind `wanted` on.

    Args:
        saving: seconds that may pass from the start of a save to its kill.
    """
    after, begun = rng.random(), time.perf_counter()
    if wanted == "start":
        return lambda: time.perf_counter() > begun + 6 * after
    size, stale = _size(lines), _saves(workdir)
    seen: dict[object, float] = {}  # each new save, or the first new line: when it was first seen
    wait = (0.5 if wanted == "step" else saving) * after
    count = rng.randint(1, 3) if wanted == "save" else 1

    def come() -> bool:
        line = ["line"] if _size(lines) not in (0, size) else []
        for event in line if wanted == "step" else _saves(workdir) - stale:
            seen.setdefault(event, time.perf_counter())
        return len(seen) >= count and time.perf_counter() > list(seen.values())[count - 1] + wait

    return come


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _saves(workdir: Path) -> set[tuple[str, int]]:
    """Name and inode of every checkpoint that is partly written or partly removed."""
    with contextlib.suppress(FileNotFoundError), os.scandir(workdir / "checkpoints") as entries:
        return {(entry.name, entry.inode()) for entry in entries if entry.name.endswith(".part")}
    return set()


def differences(one: Path, other: Path) -> list[str]:
    """What differs between the results of two trainings; empty if they are equal bit for bit.

    This compares every array of the final state, the saved progress (which includes the data
    iterator) and the figures in metrics.jsonl, and checks that `other` has no step twice.
    """
    (state, progress), (state_, progress_) = _final(one), _final(other)
    differing = [
        jax.tree_util.keystr(path)
        for (path, a), (_, b) in zip(
            *map(jax.tree_util.tree_leaves_with_path, (state, state_)), strict=True
        )
        if np.asarray(a).tobytes() != np.asarray(b).tobytes()
    ]
    differing += [name for name in progress if progress[name] != progress_[name]]
    figures, figures_ = _figures(one), _figures(other)
    twice = collections.Counter((line["group"], line["step"]) for line in figures_)
    differing += [f"{group} figures of step {step}" for (group, step), n in twice.items() if n > 1]
    if figures != figures_:
        differing.append("metrics.jsonl")
    return differing


def _final(workdir: Path):
    """The last checkpoint's training state and progress."""
    config, data = read_experiment(workdir)
    method, size = build_method(config), tuple(data["size"])
    return Checkpoints(workdir).restore(lambda: fresh_state(method, config, size))


def _figures(workdir: Path) -> list[dict]:
    lines = read_metrics(workdir / METRICS)
    return [line for line in lines if line["group"] in ("train", "validation")]
