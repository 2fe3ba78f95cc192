"""pmap over devices: the only place that knows how many there are."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

AXIS = "devices"


CORES = 8  # CPU cores used as devices, at most: each holds a batch of its own


def set_up() -> None:
    """Settings of JAX for a program of its own, made before JAX looks for devices.

    Compiled programs are kept on disk from one start to the next, unless a place is set already.
    On a CPU each core becomes a device: inside a loop XLA runs a network on one core, and
    sampling on two of them takes half the time.
    """
    if not jax.config.jax_compilation_cache_dir:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sde_ct" / "xla"
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        jax.config.update("jax_num_cpu_devices", min(cores, CORES))


def devices_for(batch_size: int) -> list[jax.Device]:
    """The devices to share a training batch between.

    All accelerators; of the CPU cores as many as divide the batch.
    """
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return devices[: math.gcd(batch_size, len(devices))]
    return devices


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


def data_parallel(step: Callable, devices: Sequence[jax.Device] | None = None) -> Callable:
    """`step(state, keys, batch) -> (state, metrics)` over devices, state replicated.

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
