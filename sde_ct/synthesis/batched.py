"""Draw any number of samples in batches, with one compiled function for each batch's shape."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from sde_ct.methods.slices import SLICES
from sde_ct.runtime import heap, host_memory, parallel
from sde_ct.runtime.bars import say
from sde_ct.sampling.along_z import Factor
from sde_ct.sampling.keys import slice_keys
from sde_ct.types import Method, Samples

BATCH = 10  # slices per device if its free memory is unknown
LARGEST = 256  # larger batches are not faster, even on the largest GPUs
SHARE = 0.8  # fraction of the free memory that a batch may take

Shape = tuple[int, ...]


class Batched:
    """`draw` and `means` of a Method on all devices of this process.

    The batch size is found once for each shape of a sample's MR, [z, h, w, k]. A program is
    compiled once for each such shape and batch size.
    Means that were computed before are passed as further channels of the MR.
    """

    def __init__(
        self,
        method: Method,
        channels: int,
        params: Any,
        devices: Sequence[jax.Device],
        batch: int | None,
    ):
        """Place the parameters on the devices.

        Args:
          channels: number of channels of the MR, without its means.
          batch: slices per device that the network sees at once; None takes as many samples as the
            device's memory holds.
        """

        def draw(shared: tuple[Any, Array | None], keys: Array, shown: Array) -> Samples:
            means = [shown[..., channels:]] if shown.shape[-1] > channels else []
            return method.draw(shared[0], keys, shown[..., :channels], shared[1], *means)

        self._functions, self._batch = (draw, method.means), batch
        self._use(list(devices), params)

    def _use(self, devices: list[jax.Device], params: Any) -> None:
        """Use these devices, for which nothing is compiled yet."""
        self._devices, (draw, means) = devices, self._functions
        self._draw = parallel.shared_out(draw, devices)
        if means is not None:
            self._means = parallel.shared_out(means, devices)
        self._params = parallel.replicate(params, devices)
        self._fitting: dict[Shape, int] = {}  # samples per device
        self._compiled: dict[tuple[Shape, int], jax.stages.Compiled] = {}
        self._compiled_means: dict[Shape, jax.stages.Compiled] = {}

    def prepare(self, shape: Shape, samples: int, along_z: Factor | None) -> int:
        """Compile the function of a batch, and return how many samples it holds.

        The devices of a CPU share one memory. If it is too small for all of them, fewer are used
        from now on.

        Args:
          shape: the shape of a sample's MR, [z, h, w, k].
          samples: how many samples will be drawn. If they are volumes, no device gets more than its
            share of them.
          along_z: the factor of the noise's covariance between the slices of a sample; None if the
            slices are independent.
        """
        most = self._batch_that_fits(shape, along_z)
        each = most if shape[0] == 1 else min(most, -(-samples // len(self._devices)))
        if (shape, each) not in self._compiled:
            program = self._compile(shape, each, along_z)
            if (count := self._devices_that_fit(program)) < len(self._devices):
                self._use(self._devices[:count], jax.device_get(self._params))
                return self.prepare(shape, samples, along_z)
            self._compiled[shape, each] = program
            heap.trim()
        return each * len(self._devices)

    def __call__(
        self,
        keys: Key[Array, " n"],
        mr: Float[np.ndarray, "n z h w k"],
        along_z: Factor | None,
    ) -> Samples:
        """The n samples of one batch as NumPy arrays; n is what `prepare` returned."""
        count = len(self._devices)
        draw = self._compiled[mr.shape[1:], len(mr) // count]
        sharded = parallel.shard((keys, mr), count)
        samples = jax.device_get(draw((self._params, along_z), sharded))
        return Samples(*(part.reshape(-1, *part.shape[2:]) for part in samples))

    def with_means(
        self, mr: Float[np.ndarray, "z h w k"]
    ) -> tuple[Float[np.ndarray, "z h w c"], float]:
        """The slices with their means as further channels, and the seconds that the means took.

        A device gets 1, 2, 4 or 8 slices at a time, so that volumes of any depth need four programs
        at most.
        """
        count, depth = len(self._devices), len(mr)
        each = min(SLICES, 2 ** int(np.log2(max(1, depth // count))))
        shape = (count, 1, each, *mr.shape[1:])
        means, start = self._program_of_means(shape), time.perf_counter()
        made = []
        for begin in range(0, depth, count * each):
            rows = np.arange(begin, begin + count * each).clip(max=depth - 1)
            part = jax.device_get(means(self._params, (mr[rows].reshape(shape),)))
            made.append(part.reshape(-1, *part.shape[3:]))
        shown = np.concatenate([mr, np.concatenate(made)[:depth]], axis=-1)
        return shown, time.perf_counter() - start

    def _program_of_means(self, shape: Shape) -> jax.stages.Compiled:
        if shape not in self._compiled_means:
            mr = np.zeros(shape, np.float32)
            self._compiled_means[shape] = self._means.lower(self._params, (mr,)).compile()
        return self._compiled_means[shape]

    def _compile(self, shape: Shape, each: int, along_z: Factor | None) -> jax.stages.Compiled:
        total = each * len(self._devices)
        keys = slice_keys(0, 0, np.zeros(total, int), np.arange(total))
        sharded = parallel.shard((keys, np.zeros((total, *shape), np.float32)), len(self._devices))
        return self._draw.lower((self._params, along_z), sharded).compile()

    def _devices_that_fit(self, program: jax.stages.Compiled) -> int:
        """How many devices can run a program at the same time; at least one."""
        count, needed = len(self._devices), program.memory_analysis()
        on_cpu = self._devices[0].platform == "cpu"
        free = host_memory.available() if on_cpu and count > 1 else None
        if free is None or needed is None:
            return count
        each = needed.temp_size_in_bytes + needed.argument_size_in_bytes
        fitting = max(1, min(count, int(SHARE * free // max(each, 1))))
        if fitting < count:
            say(f"{fitting} of {count} cores draw: each takes {each / 1e9:.1f} GB of memory.")
        return fitting

    def _batch_that_fits(self, shape: Shape, along_z: Factor | None) -> int:
        """Samples per device. A network sees at most `SLICES` slices of each volume at once."""
        if shape not in self._fitting:
            usual = max(1, (self._batch or BATCH) // min(shape[0], SLICES))
            free = None if self._batch else parallel.free_memory(self._devices[0])
            trial = None if free is None else self._compile(shape, usual, along_z).memory_analysis()
            self._fitting[shape] = usual
            if free is not None and trial is not None:
                self._fitting[shape] = samples_that_fit(free, trial.temp_size_in_bytes / usual)
        return self._fitting[shape]


def samples_that_fit(free: float, each: float) -> int:
    """The largest power of two up to `LARGEST` whose samples fit in `SHARE` · `free`; at least 1.

    A sample takes `each` bytes.
    """
    most = min(LARGEST, SHARE * free / max(each, 1.0))
    return 2 ** int(np.log2(max(most, 1.0)))
