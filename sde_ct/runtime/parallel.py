"""Run pmap over the devices of all processes.

A batch is split by process, then by device. Every device holds the whole state.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from sde_ct.runtime import cache, heap

AXIS = "devices"
CORES = 8  # most CPU cores that are used as devices, because each device needs memory


def set_up(*, keep_memory: bool = False) -> None:
    """Configure JAX before it looks for devices.

    Compiled programs are kept on disk from one start to the next. On a CPU up to `CORES` cores
    become devices, because inside a loop XLA runs a network on only one core. Settings of the user
    for both take precedence. Random numbers are those of JAX's default, whatever
    JAX_THREEFRY_PARTITIONABLE says, so that the same seed gives the same result.

    Args:
      keep_memory: whether freed memory is kept for the next array, see `heap`. A training is then
        faster. A synthesis is not faster, and needs up to 1.5 times as much memory.
    """
    jax.config.update("jax_threefry_partitionable", True)
    if keep_memory:
        heap.keep()
    if not jax.config.jax_compilation_cache_dir:
        cache.remove_truncated(folder := cache.folder("xla"))
        jax.config.update("jax_compilation_cache_dir", str(folder))
        # JAX keeps only programs that took a second. A start compiles dozens of smaller ones.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    set_already = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not set_already and jax.config.jax_num_cpu_devices == -1:
        jax.config.update("jax_num_cpu_devices", min(_cores(), CORES))


def _cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices_for(batch_size: int) -> list[jax.Device]:
    """The devices of all processes over which a training batch is split.

    All accelerators are used. On CPUs, every process uses the same number of cores, which divides
    its share of the batch.
    """
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return devices
    held = Counter(device.process_index for device in devices)
    each = math.gcd(batch_size // len(held), min(held.values()))
    firsts = ([d for d in devices if d.process_index == p][:each] for p in sorted(held))
    return [device for first in firsts for device in first]


def local(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """The devices that belong to this process."""
    return [device for device in devices if device.process_index == jax.process_index()]


def seldom(function: Callable) -> Callable:
    """`function`, jitted for few calls: on a CPU it is compiled fast, without optimisation."""
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=options)


def free_memory(device: jax.Device) -> int | None:
    """Free bytes of a device; None if they are unknown, as on a CPU."""
    stats = device.memory_stats()
    return stats["bytes_limit"] - stats["bytes_in_use"] if stats else None


def describe_devices() -> str:
    """The local devices in words, such as "2 x cpu"."""
    devices = jax.local_devices()
    return f"{len(devices)} x {devices[0].device_kind}"


def data_parallel(step: Callable, devices: Sequence[jax.Device]) -> Any:
    """`step(state, keys, batch) -> (state, metrics)`, pmapped over the devices of all processes.

    The state is on the devices of this process (see `replicate`) and is donated. State and metrics
    have no leading device axis, but keys and batch have one (see `shard`). `step` must average
    gradients and metrics over the axis name `AXIS`. Otherwise the devices drift apart without an
    error; `replicas_agree` detects this within a process.
    """
    return jax.pmap(
        step, AXIS, in_axes=(None, 0, 0), out_axes=None, donate_argnums=0, devices=devices
    )


def shared_out(function: Callable, devices: Sequence[jax.Device]) -> Any:
    """The function `mapped(shared, rest)`, which runs `function(shared, *rest)` over devices.

    `shared` is replicated; the leaves of `rest` and the result have a leading device axis.
    `mapped.lower(shared, rest).compile()` compiles it without running it.
    """
    return jax.pmap(
        lambda shared, rest: function(shared, *rest), in_axes=(None, 0), devices=devices
    )


def replicate(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """The tree on every device, with the placement of the state that `data_parallel` returns.

    With another placement the step would be compiled twice.
    """
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def share(batch_size: int) -> range:
    """The rows of a batch that this process computes."""
    each = batch_size // jax.process_count()
    return range(jax.process_index() * each, (jax.process_index() + 1) * each)


def shard(tree: Any, count: int) -> Any:
    """Reshape [n, ...] to [count, n/count, ...] in every leaf."""
    return jax.tree.map(lambda x: x.reshape((count, x.shape[0] // count, *x.shape[1:])), tree)


def replicas_agree(tree: Any) -> bool:
    """Whether all devices of this process hold the same values, bit for bit, random keys aside."""

    def agree(x: jax.Array) -> bool:
        first, *others = [np.asarray(s.data) for s in x.addressable_shards]
        return all(np.array_equal(first, other, equal_nan=True) for other in others)

    return all(
        agree(x)
        for x in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    )
