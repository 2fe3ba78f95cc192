"""One training in one work directory, from its newest checkpoint on."""

import collections
import contextlib
import dataclasses
import functools
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from sde_ct.config import Experiment
from sde_ct.errors import InputError, Interrupted
from sde_ct.methods import build_method
from sde_ct.runtime import parallel, peers
from sde_ct.runtime.interrupt import Interruption
from sde_ct.training.checkpoint import Checkpoints, Progress, SaveError
from sde_ct.training.data import TrainingBatches
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.training.telemetry import Telemetry
from sde_ct.training.validation import onlooker
from sde_ct.training.watch import Watch
from sde_ct.types import Batch

AHEAD = 2  # steps given to the devices before the figures of the first are waited for


class Diverged(InputError):
    """More updates had to be skipped than the configuration allows."""


@dataclass
class Run:
    """One training in one work directory."""

    config: Experiment
    size: tuple[int, int]
    workdir: Path
    devices: list[jax.Device]
    batches: TrainingBatches
    looks: list[Batch]
    checkpoints: Checkpoints
    show: bool
    report: Callable[[int, dict[str, float]], None] | None

    def __post_init__(self):
        self._first_batch = self.batches.get_state()

    def go_on(self, last: int, interruption: Interruption, after: Diverged | None = None) -> Any:
        """Train from the newest checkpoint to step `last`; more slowly `after` trouble.

        Raises Diverged; `after` itself where the recipe has no rollback or had it already.
        """
        state, progress = self._start()
        if after is not None:
            if not self.config.training.rollback_rate or progress.slowed != 1:
                raise after
            progress.slowed, progress.lately = self.config.training.rollback_rate, 0
        config = slower(self.config, progress.slowed)
        update = parallel.data_parallel(build_method(config, parallel.AXIS).update, self.devices)
        local, seed = parallel.local(self.devices), config.training.seed
        rows = parallel.share(config.data.batch_size)
        state = parallel.replicate(state, local)
        with self._telemetry(progress.step, last) as telemetry:
            if after is not None:
                telemetry.warn(progress.step, f"{after} Back to step {progress.step}.")
            every, look = config.training, onlooker(config, self.looks, telemetry)
            watch, pending = Watch(), collections.deque[tuple[int, dict[str, Any]]]()
            while progress.step < last and not interruption.before(progress.step):
                batch = parallel.shard(next(self.batches), len(local))
                keys = example_keys(seed, progress.step, len(rows), rows.start)
                state, metrics = update(state, parallel.shard(keys, len(local)), batch)
                progress.step += 1
                telemetry.advance()
                pending.append((progress.step, metrics))
                log, validation, save = (
                    due(progress.step, n, last)
                    for n in (every.log_every, every.validate_every, every.checkpoint_every)
                )
                ahead = 0 if log or validation or save else AHEAD
                metrics = self._settle(pending, ahead, progress, watch, telemetry) or metrics
                if log:
                    telemetry.scalars(
                        progress.step, "train", metrics | {"skipped": progress.skipped}
                    )
                    telemetry.progress(progress.step, metrics)
                if (
                    validation
                    and peers.is_primary()
                    and (loss := look(state, progress.step)) is not None
                ):
                    progress.judge(loss)
                    telemetry.scalars(progress.step, "best", {"loss": progress.best_loss})
                if progress.step == last:
                    with peers.agreed():
                        self._save(state, progress, telemetry, final=True)
                elif save and not metrics["skipped"]:
                    self._save(state, progress, telemetry)
            if interruption.signal is not None and progress.step < last:
                self._settle(pending, 0, progress, watch, telemetry)
                self._leave(state, progress, interruption.signal)
        return state

    def _start(self) -> tuple[Any, Progress]:
        """The newest checkpoint's state, or a fresh one; the data iterator set to it."""
        fresh = functools.partial(fresh_state, build_method(self.config), self.config, self.size)
        step = peers.from_primary(self.checkpoints.latest)
        if step is None:
            self.batches.set_state(self._first_batch)
            return initialised(fresh), Progress()
        with peers.agreed():
            state, stored = self.checkpoints.restore(fresh, step)
        progress, iterator = Progress.from_json(stored)
        self.batches.set_state(iterator)
        return state, progress

    @contextlib.contextmanager
    def _telemetry(self, start: int, last: int) -> Iterator[Telemetry]:
        """The primary's is the run's; what the others tell is the same and thrown away."""
        batch, primary = self.config.data.batch_size, peers.is_primary()
        with tempfile.TemporaryDirectory() as elsewhere:
            folder = self.workdir if primary else Path(elsewhere)
            title, show = self.config.method, self.show and primary
            report = self.report if primary else None
            with Telemetry(folder, title, start, last, batch, show, report) as telemetry:
                yield telemetry

    def _settle(
        self,
        pending: collections.deque,
        ahead: int,
        progress: Progress,
        watch: Watch,
        telemetry: Telemetry,
    ) -> dict[str, float]:
        """Wait for all but `ahead` steps, judge them, and return the figures of the last.

        Raises Diverged.
        """
        figures = {}
        while len(pending) > ahead:
            step, metrics = pending.popleft()
            figures = {name: float(value) for name, value in jax.device_get(metrics).items()}
            for sentence in watch.see(step, figures):
                telemetry.warn(step, sentence)
            if figures["skipped"]:
                progress.skipped, progress.lately = progress.skipped + 1, progress.lately + 1
                if progress.lately > self.config.training.skip_limit:
                    raise Diverged(
                        f"{self.workdir}: {progress.lately} updates since the last checkpoint were "
                        f"not finite, the newest at step {step} (batch {step - 1}: "
                        f"{', '.join(self.batches.cases(step - 1))}): check these cases, or start "
                        "again in another --workdir with a lower config.training.learning_rate or "
                        "config.training.clip=1."
                    )
        return figures

    def _save(
        self, state: Any, progress: Progress, telemetry: Telemetry, final: bool = False
    ) -> None:
        if progress.step % self.config.training.checkpoint_every == 0:
            progress.lately = 0
        if not peers.is_primary():
            return
        try:
            self.checkpoints.save(progress.step, state, progress.to_json(self.batches.get_state()))
        except SaveError as error:
            newest = self.checkpoints.latest or 0
            if final:
                raise InputError(
                    f"{error}: make room and give the same command again; it goes on from step "
                    f"{newest}."
                ) from error
            telemetry.warn(
                progress.step, f"{error}: training goes on; a restart would be from step {newest}"
            )

    def _leave(self, state: Any, progress: Progress, number: signal.Signals) -> None:
        """Save and raise Interrupted."""
        done, fault = progress.step, ""
        if peers.is_primary() and done != self.checkpoints.latest and done > 0:
            try:
                self.checkpoints.save(done, state, progress.to_json(self.batches.get_state()))
            except SaveError as error:
                done, fault = self.checkpoints.latest or 0, f"; {error}"
        raise Interrupted(
            f"{number.name} at step {progress.step}{fault}; the same command goes on from step "
            f"{done}.",
            number,
        )


def slower(config: Experiment, factor: float) -> Experiment:
    """The configuration with its learning rates times `factor`."""
    training = dataclasses.replace(
        config.training, learning_rate=config.training.learning_rate * factor
    )
    adversarial = dataclasses.replace(
        config.adversarial, learning_rate=config.adversarial.learning_rate * factor
    )
    return dataclasses.replace(config, training=training, adversarial=adversarial)


def due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last
