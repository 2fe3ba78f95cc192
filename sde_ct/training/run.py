"""One training in one work directory, from its newest checkpoint to its last step."""

import collections
import contextlib
import copy
import dataclasses
import functools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from sde_ct.config import Experiment
from sde_ct.errors import InputError, Interrupted
from sde_ct.methods import build_method
from sde_ct.runtime import heap, parallel, peers
from sde_ct.runtime.interrupt import Interruption
from sde_ct.training.checkpoint import Checkpoints, Progress, SaveError
from sde_ct.training.data import TrainingBatches
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.training.telemetry import Report, Telemetry
from sde_ct.training.validation import validator
from sde_ct.training.watch import REMEDY, Diverged, Watch
from sde_ct.training.weights import NETWORK, network_of, starting_weights
from sde_ct.types import Batch

AHEAD = 2  # updates that may be unfinished on the devices while the next one is prepared
# Free memory is given back after a step of more seconds than this. Shorter steps need little
# memory, and would become slower.
LONG = 1.0

Pending = collections.deque[tuple[int, dict[str, Any]]]  # step and metrics of unfinished updates


@dataclass
class Run:
    """One start of a training; `train` in `loop.py` creates and runs it."""

    config: Experiment
    size: tuple[int, int]
    workdir: Path
    devices: list[jax.Device]
    batches: TrainingBatches
    held_out: list[Batch]  # for validation
    checkpoints: Checkpoints
    show: bool
    report: Report | None
    init: Path | None = None  # another work directory, whose weights the training starts from

    def __post_init__(self):
        self._first_batch = self.batches.get_state()
        self._finite = True  # the newest validation loss
        self._weights = parallel.seldom(build_method(self.config).weights)

    def go_on(self, last: int, interruption: Interruption, after: Diverged | None = None) -> Any:
        """Train from the newest checkpoint to step `last` and return the state.

        Args:
          last: the step to end at.
          interruption: says before every step whether to end.
          after: why the previous attempt failed, if there was one. The learning rates are then
            multiplied by `config.training.rollback_rate`.

        Raises:
          Diverged: too many updates or the last ones were skipped, or the last validation loss is
            not finite. It is `after` if the recipe has no rollback, or the run has had one.
        """
        state, progress = self._start()
        config = self.config
        if after is not None:
            if not config.training.rollback_rate or progress.slowed != 1:
                raise after
            progress.slowed, progress.lately = config.training.rollback_rate, 0
        config = slower(config, progress.slowed)
        plan = config.training
        update = parallel.data_parallel(build_method(config, parallel.AXIS).update, self.devices)
        local = parallel.local(self.devices)
        rows = parallel.share(config.data.batch_size)
        state = parallel.replicate(state, local)
        with self._telemetry(progress.step, last) as telemetry:
            if after is not None:
                telemetry.warn(progress.step, f"{after} Back to step {progress.step}.")
            validate = validator(config, self.held_out, telemetry)
            watch, pending, began = Watch(), Pending(), time.monotonic()
            while progress.step < last and not interruption.before(progress.step):
                if large := time.monotonic() - began > LONG:
                    heap.give_back()
                began = time.monotonic()
                batch = parallel.shard(next(self.batches), len(local))
                keys = example_keys(plan.seed, progress.step, len(rows), rows.start)
                state, metrics = update(state, parallel.shard(keys, len(local)), batch)
                progress.step += 1
                progress.validation_loss = progress.validation = None
                telemetry.advance()
                pending.append((progress.step, metrics))
                every = (plan.log_every, plan.validate_every, plan.checkpoint_every)
                log, look, save = (progress.step % n == 0 or progress.step == last for n in every)
                ahead = 0 if log or look or save or large else AHEAD
                metrics = self._settle(pending, ahead, progress, watch, telemetry) or metrics
                if log:
                    counted = metrics | {"skipped": progress.skipped}
                    telemetry.scalars(progress.step, "train", counted)
                    telemetry.progress(progress.step, metrics)
                if look and peers.is_primary():
                    save |= self._validate(validate, state, progress, telemetry)
                if progress.step == last:
                    # A training that is stopped before its denoiser begins has no loss yet.
                    sound = bool(peers.from_primary(self._finite or last < plan.steps))
                    watch.require_sound(self.workdir, last, sound, self.batches.cases(last - 1))
                if progress.step == last or (save and not metrics["skipped"]):
                    self._save(state, progress, telemetry, final=progress.step == last)
            if interruption.signal is not None and progress.step < last:
                self._settle(pending, 0, progress, watch, telemetry)
                self._leave(state, progress, interruption)
        return state

    def _start(self) -> tuple[Any, Progress]:
        """The state of the newest checkpoint, or a new one; sets the data iterator to match."""
        fresh = functools.partial(fresh_state, build_method(self.config), self.config, self.size)
        step = peers.from_primary(self.checkpoints.latest)
        if step is None:
            self.batches.set_state(self._first_batch)
            if self.init is None:
                return initialised(fresh), Progress()
            weights, source = starting_weights(self.init, self.config, self.size)
            return initialised(fresh, weights=weights), Progress(init=source)
        with peers.agreed():
            state, stored = self.checkpoints.restore(fresh, step)
        self.batches.set_state(stored["iterator"])
        return state, Progress.from_json(stored)

    @contextlib.contextmanager
    def _telemetry(self, start: int, last: int) -> Iterator[Telemetry]:
        """Telemetry in the work directory, or in a temporary folder if this is not the primary."""
        primary = peers.is_primary()
        with tempfile.TemporaryDirectory() as elsewhere:
            with Telemetry(
                self.workdir if primary else Path(elsewhere),
                self.config.method,
                start,
                last,
                self.config.data.slices,
                self.show and primary,
                self.report if primary else None,
            ) as telemetry:
                yield telemetry

    def _settle(
        self, pending: Pending, ahead: int, progress: Progress, watch: Watch, telemetry: Telemetry
    ) -> dict[str, float]:
        """Wait until at most `ahead` updates are unfinished, and check the metrics of the finished.

        Returns the metrics of the last finished update; they are empty if none finished.

        Raises Diverged.
        """
        figures: dict[str, float] = {}
        while len(pending) > ahead:
            step, metrics = pending.popleft()
            figures = {name: float(value) for name, value in jax.device_get(metrics).items()}
            for sentence in watch.see(step, figures):
                telemetry.warn(step, sentence)
            if not figures["skipped"]:
                continue
            progress.skipped, progress.lately = progress.skipped + 1, progress.lately + 1
            if progress.lately > self.config.training.skip_limit:
                raise Diverged(
                    f"{self.workdir}: {progress.lately} updates since the last checkpoint were not "
                    f"finite, the newest at step {step} (batch {step - 1}: "
                    f"{', '.join(self.batches.cases(step - 1))}): {REMEDY}"
                )
        return figures

    def _validate(
        self, validate: Callable, state: Any, progress: Progress, telemetry: Telemetry
    ) -> bool:
        """Validate; return whether the loss is below that of every checkpoint."""
        losses = validate(state, progress.step)
        self._finite = losses is None or math.isfinite(losses["loss"])
        if losses is None or not all(map(math.isfinite, losses.values())):
            return False
        loss, best = losses["loss"], self.checkpoints.best_loss
        progress.validation_loss, progress.validation = loss, losses
        telemetry.scalars(progress.step, "best", {"loss": min(best, loss)})
        return loss < best

    def _save(self, state: Any, progress: Progress, telemetry: Telemetry, final: bool) -> None:
        """Save. A failure gives a warning or, after the last step, InputError in all processes."""
        if progress.step % self.config.training.checkpoint_every == 0:
            progress.lately = 0
        with peers.agreed() if final else contextlib.nullcontext():
            if fault := self._write(state, progress):
                then = f"from step {self.checkpoints.latest or 0}"
                if final:
                    raise InputError(
                        f"{fault}: make room and give the same command again; it goes on {then}."
                    )
                telemetry.warn(
                    progress.step, f"{fault}: training goes on; a restart would go on {then}"
                )

    def _write(self, state: Any, progress: Progress) -> str:
        """Write a checkpoint, on the primary; returns why that failed, or ""."""
        values = dataclasses.asdict(progress) | {
            "iterator": self.batches.get_state(),
            NETWORK: network_of(self.config),
        }
        try:
            if peers.is_primary():
                state = jax.device_get(state)  # this process alone computes the weights
                self.checkpoints.save(progress.step, state, self._weights(state), values)
        except SaveError as error:
            return str(error)
        return ""

    def _leave(self, state: Any, progress: Progress, interruption: Interruption) -> None:
        """Save and raise Interrupted."""
        name, done, fault = interruption.signal.name, progress.step, ""  # type: ignore[union-attr]
        if done > 0 and done != self.checkpoints.latest:
            if fault := self._write(state, progress):
                done, fault = self.checkpoints.latest or 0, f"; {fault}"
        raise Interrupted(
            f"{name} at step {progress.step}{fault}; the same command continues from step {done}.",
            interruption.signal,  # type: ignore[arg-type]
        )


def slower(config: Experiment, factor: float) -> Experiment:
    """The configuration with its learning rates times `factor`."""
    config = copy.deepcopy(config)
    config.training.learning_rate *= factor
    config.adversarial.learning_rate *= factor
    return config
