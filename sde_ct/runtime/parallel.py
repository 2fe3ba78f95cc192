"""pmap over devices and processes: the only place that knows how many there are.

A run of several processes is one `pmap` over the devices of all of them. A batch is cut by process,
then by device; the state is held by every device, so that each process has all of it at hand.
"""

import contextlib
import ctypes
import importlib.util
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sde_ct.errors import InputError
from sde_ct.runtime import cache

AXIS = "devices"
HEARTBEAT = 30  # seconds without a sign of life after which a process counts as dead

CORES = 8  # CPU cores used as devices, at most: each holds a batch of its own


def set_up() -> None:
    """Settings of JAX for a program of its own, made before JAX looks for devices.

    Compiled programs are kept on disk from one start to the next, unless a place is set already.
    On a CPU each core becomes a device, unless their number is set already: inside a loop XLA
    runs a network on one core, and sampling on two of them takes half the time.
    """
    _keep_memory()
    if not jax.config.jax_compilation_cache_dir:
        folder = cache.folder("xla")
        for entry in folder.glob("*-cache"):
            with contextlib.suppress(FileNotFoundError):
                if entry.stat().st_size == 0:  # a kill left it; JAX would complain at every start
                    entry.unlink()
        jax.config.update("jax_compilation_cache_dir", str(folder))
    set_already = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not set_already and jax.config.jax_num_cpu_devices == -1:
        jax.config.update("jax_num_cpu_devices", min(_cores(), CORES))


def _keep_memory() -> None:
    """Have the C library keep freed memory for the next array instead of giving it back.

    XLA allocates an execution's arrays afresh each time, and on a CPU, clearing new pages takes a
    third of a training step of the paper's network. Only glibc knows these switches.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "gnu_get_libc_version"):
        library.mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
        library.mallopt(-4, 0)  # M_MMAP_MAX: large arrays lie in the heap too
        library.mallopt(-8, 1)  # M_ARENA_MAX: one heap; those of threads hold 64 MB at most


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    patience: int = 300,
) -> None:
    """Join the other processes of a run, if there are any, before JAX looks for devices.

    `patience`: seconds that a process that is done waits for the others. Other arguments and
    errors as those of `way_to_start`.
    """
    options = way_to_start(coordinator, count, index)
    if options is None:
        return
    try:
        jax.distributed.initialize(
            **options, heartbeat_timeout_seconds=HEARTBEAT, shutdown_timeout_seconds=patience
        )
    except ValueError:  # no TPU pod told of itself
        if options:
            raise


def way_to_start(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> dict[str, Any] | None:
    """What `jax.distributed.initialize` needs; None for a process alone.

    By the arguments, all or none of them; else as SLURM tells each task of a job step, one GPU a
    task; else as a TPU pod tells its hosts, where JAX for TPUs is installed.

    Args:
      coordinator: HOST:PORT where process 0 can be reached.
      count: of the processes.
      index: which this is, from 0.

    Raises:
      InputError: arguments that do not go together.
    """
    if coordinator is not None and count is not None and index is not None:
        if not re.fullmatch(r".+:\d+", coordinator):
            raise InputError(f"--coordinator={coordinator}: give HOST:PORT.")
        if not 0 <= index < count:
            raise InputError(f"--process={index}: give 0 to {count - 1} for --processes={count}.")
        given = {"coordinator_address": coordinator, "num_processes": count, "process_id": index}
        return given | {"cluster_detection_method": "deactivate"}
    if (coordinator, count, index) != (None, None, None):
        raise InputError("--coordinator, --processes and --process go together: give all three.")
    if "SLURM_STEP_NODELIST" in os.environ and int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        return {"cluster_detection_method": "slurm"}
    return {} if importlib.util.find_spec("libtpu") else None


def devices_for(batch_size: int) -> list[jax.Device]:
    """The devices of all processes to share a training batch between.

    All accelerators; of the CPU cores as many as divide the batch, the same number everywhere.
    """
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return devices
    held = Counter(device.process_index for device in devices)
    each = math.gcd(batch_size // len(held), min(held.values()))
    firsts = ([d for d in devices if d.process_index == p][:each] for p in sorted(held))
    return [device for first in firsts for device in first]


def local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of the devices that belong to this process."""
    return [device for device in devices if device.process_index == jax.process_index()]


def seldom(function: Callable) -> Callable:
    """`function` jitted for few calls: on a CPU without optimisation, which takes far longer."""
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=options)


def free_memory(device: jax.Device) -> int | None:
    """Bytes that a device has left; None where it does not tell, as a CPU."""
    stats = device.memory_stats()
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats else None


def describe_devices() -> str:
    """As in "2 x cpu": what the figures of a benchmark were measured on."""
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind}"


def data_parallel(step: Callable, devices: Sequence[jax.Device] | None = None) -> Any:
    """`step(state, keys, batch) -> (state, metrics)` over devices, state replicated.

    `devices` are those of all processes, `state` is on those of this one (`replicate`, `local`).
    State and metrics have no leading device axis; keys and batch have one (`shard`). `step` must
    average gradients and metrics over the axis name `AXIS`, else devices drift apart silently:
    `replicas_agree` tells. The state given is donated.
    """
    return jax.pmap(
        step, AXIS, in_axes=(None, 0, 0), out_axes=None, donate_argnums=0, devices=devices
    )


def shared_out(function: Callable, devices: Sequence[jax.Device] | None = None) -> Any:
    """`function(shared, *rest)` over devices, called as `mapped(shared, rest)`.

    `shared` is replicated; the leaves of `rest` and the result have a leading device axis.
    `mapped.lower(shared, rest).compile()` compiles without a run.
    """
    return jax.pmap(
        lambda shared, rest: function(shared, *rest), in_axes=(None, 0), devices=devices
    )


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """The tree on every device, placed as `data_parallel` returns it.

    A state placed otherwise would have the step compiled twice: for it and for its successor.
    """
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def share(batch_size: int) -> range:
    """The rows of a batch that this process computes: equal parts, in the order of processes."""
    each = batch_size // jax.process_count()
    return range(jax.process_index() * each, (jax.process_index() + 1) * each)


def shard(tree: Any, count: int) -> Any:
    """[n, ...] -> [count, n/count, ...] in every leaf."""
    return jax.tree.map(lambda x: x.reshape((count, x.shape[0] // count, *x.shape[1:])), tree)


def replicas_agree(tree: Any) -> bool:
    """Whether every device holds the same values, bit for bit."""

    def agree(x: jax.Array) -> bool:
        first, *others = [np.asarray(s.data) for s in x.addressable_shards]
        return all(np.array_equal(first, other, equal_nan=True) for other in others)

    return all(
        agree(x)
        for x in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    )
