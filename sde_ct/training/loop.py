"""The one training loop, for every method."""

import functools
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sde_ct import parallel
from sde_ct.config import Experiment, validate
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.methods import build_method, build_network
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import TrainingBatches, describe, validation_batches
from sde_ct.training.experiment import write_experiment
from sde_ct.training.preview import preview
from sde_ct.training.telemetry import Telemetry
from sde_ct.types import Batch, Method

VALIDATION_BATCHES = 4  # at most, so that a look at the validation set stays cheap
VALIDATION_KEY = 1 << 30  # folded into the seed: validation noise is the same at every look


@functools.partial(jax.jit, static_argnums=(0, 2))
def example_keys(seed: int, step: int, count: int) -> jax.Array:
    """One key an example from (seed, step): the same however the batch is spread over devices."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(count))


def check_fit(config: Experiment, prepared: Prepared, devices: int) -> None:
    """InputError where data, configuration and devices do not fit together."""
    multiple = build_network(config).multiple
    height, width = prepared.size
    if height % multiple or width % multiple:
        raise InputError(
            f"The slices of {prepared.folder} are {height} x {width}, but this network needs "
            f"multiples of {multiple}: prepare the data with such a --size."
        )
    if config.data.batch_size % devices:
        raise InputError(
            f"config.data.batch_size={config.data.batch_size} does not divide over "
            f"{devices} devices: give a multiple."
        )


def train(
    config: Experiment,
    prepared: Prepared,
    workdir: Path,
    *,
    devices: list[jax.Device] | None = None,
    stop_at: int | None = None,
    show: bool = True,
) -> Any:
    """Train to `config.training.steps`, going on from the newest checkpoint if there is one.

    Args:
      config: the experiment; recorded in `workdir`, where another one is refused.
      prepared: the prepared data set.
      workdir: receives `experiment.json`, `checkpoints/`, `tensorboard/`, `metrics.jsonl`.
      devices: those to share the batch between; `parallel.devices_for` by default.
      stop_at: stop, with a checkpoint, after this step although the schedule goes on.
      show: whether to show a progress bar.

    Returns:
      The final training state, replicated over the devices.
    """
    validate(config)
    devices = devices or parallel.devices_for(config.data.batch_size)
    check_fit(config, prepared, len(devices))
    # Data that cannot be used are refused before anything is written.
    batches = TrainingBatches(config.data, prepared, config.training.seed)
    looks = list(itertools.islice(validation_batches(config.data, prepared), VALIDATION_BATCHES))
    write_experiment(workdir, config, describe(config.data, prepared))
    method = build_method(config, parallel.AXIS)
    update = parallel.data_parallel(method.update, devices)
    last = min(stop_at or config.training.steps, config.training.steps)

    checkpoints = Checkpoints(workdir, config.training.keep_checkpoints)
    fresh = functools.partial(fresh_state, method, config, prepared.size)
    state, step = start(fresh, checkpoints, batches)
    state = parallel.replicate(state, devices)
    with Telemetry(workdir, config.method, step, last, show) as telemetry:
        look = onlooker(config, looks, telemetry)
        while step < last:
            batch = parallel.shard(next(batches), len(devices))
            keys = example_keys(config.training.seed, step, config.data.batch_size)
            state, metrics = update(state, parallel.shard(keys, len(devices)), batch)
            step += 1
            telemetry.advance()
            if due(step, config.training.log_every, last):
                telemetry.scalars(step, "train", jax.device_get(metrics))
                stop_if_not_finite(step, metrics, workdir)
            if due(step, config.training.validate_every, last):
                look(state, step)
            if due(step, config.training.checkpoint_every, last):
                stop_if_not_finite(step, metrics, workdir)
                checkpoints.save(step, state, batches.get_state())
    checkpoints.close()
    return state


def fresh_state(method: Method, config: Experiment, size: tuple[int, int]) -> Any:
    """The training state before the first step, for slices of `size` (h, w)."""
    mr = jnp.zeros((1, *size, 1 + 2 * config.data.neighbours))
    one = jnp.zeros((1, *size, 1))
    return method.init(jax.random.key(config.training.seed), Batch(mr, one, one))


def initialised(fresh: Callable[[], Any]) -> Any:
    """`fresh()`, compiled to run once."""
    return parallel.seldom(fresh)()


def start(
    fresh: Callable[[], Any], checkpoints: Checkpoints, batches: TrainingBatches
) -> tuple[Any, int]:
    """The newest checkpoint's state and step, the iterator set to it; or a fresh state."""
    if checkpoints.latest is None:
        return initialised(fresh), 0
    state, iterator = checkpoints.restore(fresh)
    batches.set_state(iterator)
    return state, checkpoints.latest


def due(step: int, every: int, last: int) -> bool:
    return step % every == 0 or step == last


def stop_if_not_finite(step: int, metrics: dict[str, Any], workdir: Path) -> None:
    """A gradient that is not finite spoils the parameters one step before the loss shows it."""
    for name, title in (("loss", "loss"), ("gradient_norm", "gradient")):
        if not math.isfinite(float(metrics[name])):
            raise InputError(
                f"{workdir}: the {title} is not finite at step {step}: start again in another "
                "--workdir with a lower config.training.learning_rate or config.training.clip=1."
            )


def onlooker(
    config: Experiment, batches: list[Batch], telemetry: Telemetry
) -> Callable[[Any, int], None]:
    """`look(state, step)`: validation loss over the batches, and a few synthetic slices."""
    method = build_method(config)
    evaluate, show = parallel.seldom(method.loss), preview(config)

    def look(state: Any, step: int) -> None:
        state, losses = jax.device_get(state), []
        for number, batch in enumerate(batches):
            keys = example_keys(config.training.seed, VALIDATION_KEY + number, len(batch.mr))
            losses.append(jax.device_get(evaluate(state, keys, batch)))
        if losses:
            mean = {name: np.mean([loss[name] for loss in losses]) for name in losses[0]}
            telemetry.scalars(step, "validation", mean)
            for name, images in show(method.weights(state), batches[0]).items():
                telemetry.images(step, name, images)

    return look
