"""`train`: the one training loop, for every method."""

import contextlib
from pathlib import Path
from typing import Any

import jax
from absl import logging

from sde_ct.config import Experiment, validate
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.methods import build_network
from sde_ct.methods.step import schedule
from sde_ct.runtime import parallel, peers
from sde_ct.runtime.interrupt import Interruption
from sde_ct.storage.lock import locked
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import TrainingBatches, describe
from sde_ct.training.experiment import record_start, write_experiment
from sde_ct.training.run import Diverged, Run
from sde_ct.training.telemetry import Report
from sde_ct.training.validation import validation_batches
from sde_ct.training.weights import check_init, require_teacher


def train(
    config: Experiment,
    prepared: Prepared,
    workdir: Path,
    *,
    devices: list[jax.Device] | None = None,
    init: Path | None = None,
    stop_at: int | None = None,
    show: bool = True,
    report: Report | None = None,
) -> Any:
    """Train to `config.training.steps`, from the newest undamaged checkpoint if there is one.

    Args:
      config: the experiment. It is recorded in `workdir`, which refuses another one; only
        `config.training.steps` may grow.
      prepared: the prepared data set.
      workdir: receives `experiment.json`, `run.json`, `checkpoints/`, `tensorboard/` and
        `metrics.jsonl`.
      devices: the devices of all processes; by default those of `parallel.devices_for`.
      init: another work directory; the training starts from the averaged weights of its best
        checkpoint. Once `workdir` has a checkpoint, only that of its first start is accepted.
      stop_at: save and stop after this step; the learning rate keeps the whole run's schedule.
      show: whether to show a progress bar.
      report: called with step and figures, {"train/loss": …}, in the primary process.

    Returns:
      The final training state, replicated over the devices.

    Raises:
      InputError: the input can't be used, `workdir` holds another training, the last checkpoint
        can't be written, or the training diverged: it skipped more updates than
        `config.training.skip_limit` or the last ones, or its last validation loss is not finite.
      Interrupted: SIGTERM or Ctrl-C came. The last finished step was saved, unless the message says
        that this failed.
    """
    validate(config)
    workdir = Path(workdir)
    last = min(stop_at or config.training.steps, config.training.steps)
    with contextlib.ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        with peers.agreed():
            devices = devices or parallel.devices_for(config.data.batch_size)
            check_fit(config, prepared, len(devices))
            # Unusable data are refused before anything is written.
            batches = TrainingBatches(config.data, prepared, config.training.seed)
            if init is not None:
                check_init(init, workdir, config, prepared.size)
            require_teacher(init, workdir, config)
            checkpoints, held_out = Checkpoints(workdir, config.training.keep_checkpoints), []
            if peers.is_primary():
                held_out = validation_batches(config, prepared, len(devices))
                stack.enter_context(locked(workdir, "training", "--workdir"))
                before = write_experiment(workdir, config, describe(config.data, prepared))
                for sentence in checkpoints.tidy():
                    logging.warning("%s", sentence)
                step = checkpoints.latest or 0
                if before and before.training.steps < config.training.steps:
                    logging.warning("%s", prolonged(workdir, before, config, step))
                record_start(workdir, config, prepared, devices, step)
        run = Run(
            config, prepared.size, workdir, devices, batches, held_out, checkpoints, show, report,
            init,
        )  # fmt: skip
        peers.connect(devices)
        try:
            state = run.go_on(last, interruption)
        except Diverged as trouble:
            with peers.agreed():  # all processes come here, at the same step
                state = run.go_on(last, interruption, after=trouble)
    return state


def prolonged(workdir: Path, before: Experiment, config: Experiment, step: int) -> str:
    """What changes if a training at `step` is given more steps than `before`, in two sentences."""
    old, new = (
        float(schedule(c.training, c.training.learning_rate)(step)) for c in (before, config)
    )
    rates = f": it is {new:.3g} there, and {old:.3g} by the shorter schedule"
    if config.method == "residual":  # each of its networks has a schedule of its own
        rates = ""
    return (
        f"{workdir} is now trained to step {config.training.steps} instead of "
        f"{before.training.steps}. From step {step} on, the learning rate follows the schedule of "
        f"the longer run{rates}."
    )


def check_fit(config: Experiment, prepared: Prepared, devices: int) -> None:
    """Raise InputError if data, configuration and devices do not fit together."""
    multiple = build_network(config).multiple
    height, width = prepared.size
    if height % multiple or width % multiple:
        raise InputError(
            f"The slices of {prepared.folder} are {height} x {width}, but this network needs "
            f"multiples of {multiple}: prepare the data with such a --size."
        )
    if config.data.contrasts != (count := len(prepared.contrasts)):
        raise InputError(
            f"config.data.contrasts={config.data.contrasts}, but {prepared.folder} has {count} MR "
            f"contrasts ({', '.join(prepared.contrasts)}): give --config.data.contrasts={count}."
        )
    if config.data.batch_size % devices:
        raise InputError(
            f"config.data.batch_size={config.data.batch_size} does not divide over {devices} "
            "devices: give a multiple."
        )
