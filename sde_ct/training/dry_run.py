"""A dry run: what a training would read, need and cost, with nothing written."""

import os
import shutil
import time
from pathlib import Path

import jax

from sde_ct.config import Experiment, validate
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.runtime import parallel, peers
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.cost import bytes_of, duration, in_bytes, measure
from sde_ct.training.data import TrainingBatches, describe
from sde_ct.training.experiment import check_experiment
from sde_ct.training.loop import check_fit
from sde_ct.training.state import example_keys, fresh_state, initialised
from sde_ct.training.validation import validation_batches
from sde_ct.training.weights import check_init, require_teacher


def dry_run(
    config: Experiment,
    prepared: Prepared,
    workdir: Path,
    devices: list[jax.Device] | None = None,
    init: Path | None = None,
) -> list[str]:
    """Lines about data, shapes, memory, compilation and the cost of the whole training.

    The step is compiled and run a few times; nothing is written to `workdir`.

    Raises InputError where `train` would before its first step, and if the disk is too small. But
    it takes no lock, compares no bytes of the data and reads no weights from checkpoints.
    """
    validate(config)
    with peers.agreed():
        devices = devices or parallel.devices_for(config.data.batch_size)
        check_fit(config, prepared, len(devices))
        batches = TrainingBatches(config.data, prepared, config.training.seed)
        held_out = validation_batches(config, prepared, len(devices))
        known = check_experiment(workdir, config, describe(config.data, prepared))
        if init is not None:
            check_init(init, workdir, config, prepared.size)
        require_teacher(init, workdir, config)
        place = writable(workdir)
    peers.connect(devices)
    method = build_method(config, parallel.AXIS)
    local, rows = parallel.local(devices), parallel.share(config.data.batch_size)

    then = time.perf_counter()
    batch = next(batches)
    reading = time.perf_counter() - then
    keys = example_keys(config.training.seed, 0, len(rows), rows.start)
    state = initialised(lambda: fresh_state(method, config, prepared.size))
    weights = method.weights(state)
    parameters = sum(x.size for x in jax.tree.leaves(weights))
    checkpoint = bytes_of(state) + bytes_of(weights)
    measured = measure(
        parallel.data_parallel(method.update, devices),
        parallel.replicate(state, local),
        *(parallel.shard(part, len(local)) for part in (keys, batch)),
        steps=config.training.steps,
    )

    done = Checkpoints(workdir).latest or 0
    left = max(config.training.steps - done, 0)
    # The best checkpoint is kept too, and the newest is written before an older one is removed.
    kept, free = (config.training.keep_checkpoints + 2) * checkpoint, shutil.disk_usage(place).free
    sizes = {name: prepared.of(name) for name in prepared.split}
    memory = local[0].memory_stats() or {}
    has = f" of {in_bytes(memory['bytes_limit'])}" if "bytes_limit" in memory else ""
    lines = [
        f"data: {prepared.folder}; "
        + "; ".join(
            f"{name} {len(cases)} patients, {sum(map(len, cases))} slices"
            for name, cases in sizes.items()
        ),
        f"batch: MR {batch.mr.shape}, CT {batch.ct.shape} {batch.ct.dtype}, the first in "
        f"{reading:.2f} s; {sum(len(b.mr) for b in held_out)} slices for validation",
        f"devices: {len(devices)} x {devices[0].device_kind}, "
        f"{config.data.slices // len(devices)} slices each",
        f"network: {parameters / 1e6:.2f} M parameters, {in_bytes(checkpoint)} a checkpoint",
        f"memory: {in_bytes(measured.device_bytes)} a device in the step{has}",
        f"disk: {in_bytes(kept)} of checkpoints, {in_bytes(free)} free at {place}",
        f"compilation: {measured.compilation:.1f} s",
        f"step: {measured.step:.3g} s, {config.data.slices / measured.step:.3g} images/s",
        f"whole run: {left} steps{f' after {done}' if done else ''}, "
        f"{duration(left * measured.step)}, "
        f"{left * measured.step * len(devices) / 3600:.2g} device hours, without validation and "
        "saves",
        f"work directory: {workdir}, {'to be continued' if known else 'new'}; nothing was written",
    ]
    with peers.agreed():
        if kept > free:
            raise InputError(
                f"{place} has no room for {in_bytes(kept)} of checkpoints: free some space."
            )
    return lines


def writable(workdir: Path) -> Path:
    """`workdir`, or the deepest existing folder above it; InputError if it can't be used."""
    place = Path(workdir).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{place} is a file: give a folder as --workdir.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{place} can't be written to: give another --workdir.")
    return place
