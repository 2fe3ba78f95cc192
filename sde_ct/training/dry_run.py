"""Everything of a training but its traces: what it would read, need and cost, as measured here."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import jax

from sde_ct.config import Experiment, validate
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.runtime import parallel, peers
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import TrainingBatches, describe
from sde_ct.training.experiment import check_experiment
from sde_ct.training.loop import check_fit
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.training.validation import validation_batches

STEPS = 3  # that are timed, after a first one


def dry_run(
    config: Experiment,
    prepared: Prepared,
    workdir: Path,
    devices: list[jax.Device] | None = None,
) -> list[str]:
    """Lines that tell data, shapes, memory, compilation and the cost of the whole training.

    The step is compiled and made a few times; `workdir` is looked at and not made.

    Raises InputError where `train` would, up to its first step.
    """
    validate(config)
    with peers.agreed():
        devices = devices or parallel.devices_for(config.data.batch_size)
        check_fit(config, prepared, len(devices))
        batches = TrainingBatches(config.data, prepared, config.training.seed)
        looks = validation_batches(config, prepared, len(devices))
        known = check_experiment(workdir, config, describe(config.data, prepared))
        place = writable(workdir)
    peers.connect(devices)
    method = build_method(config, parallel.AXIS)
    local, rows = parallel.local(devices), parallel.share(config.data.batch_size)

    then = time.perf_counter()
    batch = next(batches)
    reading = time.perf_counter() - then
    arguments = (
        parallel.shard(example_keys(config.training.seed, 0, len(rows), rows.start), len(local)),
        parallel.shard(batch, len(local)),
    )
    state = initialised(lambda: fresh_state(method, config, prepared.size))
    parameters, held = _sizes(method.weights(state))[0], _sizes(state)[1]
    state = parallel.replicate(state, local)
    update = parallel.data_parallel(method.update, devices)
    then = time.perf_counter()
    compiled = update.lower(state, *arguments).compile()
    compiling = time.perf_counter() - then
    seconds = _seconds(update, state, arguments)

    done = Checkpoints(workdir, keep=None).latest or 0
    left = max(config.training.steps - done, 0)
    kept = (config.training.keep_checkpoints + 1) * held  # the newest is written before one goes
    free = shutil.disk_usage(place).free
    split = {name: sum(map(len, prepared.of(name))) for name in prepared.split}
    lines = [
        f"data: {prepared.folder}; "
        + "; ".join(f"{n} {len(prepared.of(n))} patients, {z} slices" for n, z in split.items()),
        f"batch: MR {batch.mr.shape}, CT {batch.ct.shape} {batch.ct.dtype}, the first in "
        f"{reading:.2f} s; {len(looks)} batches for a look at the validation set",
        f"devices: {len(devices)} x {devices[0].device_kind}, "
        f"{config.data.batch_size // len(devices)} slices each",
        f"network: {parameters / 1e6:.2f} M parameters, {_size(held)} a checkpoint",
        f"memory: {_size(_memory(compiled))} a device in the step{_has(local[0])}",
        f"disk: {_size(kept)} of checkpoints, {_size(free)} free at {place}",
        f"compilation: {compiling:.1f} s",
        f"step: {seconds:.3g} s, {config.data.batch_size / seconds:.3g} images/s",
        f"whole run: {left} steps{f' after {done}' if done else ''}, {_told(left * seconds)}, "
        f"{left * seconds * len(devices) / 3600:.2g} device hours, without looks and saves",
        f"work directory: {workdir} {'goes on' if known else 'would be made'}; nothing was written",
    ]
    with peers.agreed():
        if kept > free:
            raise InputError(f"{place} has no room for {_size(kept)} of checkpoints: make some.")
    return lines


def _seconds(update: Any, state: Any, arguments: tuple) -> float:
    """The shortest of a few steps: what the machine can do when it is not disturbed."""
    shortest = math.inf
    for number in range(1 + STEPS):
        then = time.perf_counter()
        state, metrics = update(state, *arguments)
        jax.block_until_ready((state, metrics))
        if number:
            shortest = min(shortest, time.perf_counter() - then)
    return shortest


def _sizes(tree: Any) -> tuple[int, int]:
    """Numbers and bytes."""
    leaves = jax.tree.leaves(tree)
    return sum(x.size for x in leaves), sum(x.nbytes for x in leaves)


def _memory(compiled: Any) -> int:
    """Bytes that one device needs at most, as XLA laid them out."""
    found = compiled.memory_analysis()
    inputs, outputs = found.argument_size_in_bytes, found.output_size_in_bytes
    return inputs + outputs - found.alias_size_in_bytes + found.temp_size_in_bytes


def _has(device: jax.Device) -> str:
    stats = device.memory_stats()
    return f" of {_size(stats['bytes_limit'])}" if stats and "bytes_limit" in stats else ""


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


def _told(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def writable(workdir: Path) -> Path:
    """The folder that is there of the way to `workdir`; InputError where it can't be written to."""
    place = Path(workdir).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{place} is a file: give a folder as --workdir.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{place} can't be written to: give another --workdir.")
    return place
