"""Draw any number of samples in batches, with one compiled function for each shape."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from sde_ct.methods.slices import SLICES
from sde_ct.runtime import parallel
from sde_ct.sampling.keys import slice_keys
from sde_ct.types import Samples

# Samples per device if its free memory is unknown, the same for any number of devices.
BATCH = 10
LARGEST = 256  # larger batches are not faster, even on the largest GPUs
SHARE = 0.8  # fraction of the free memory that a batch may take

Shape = tuple[int, ...]


class Batched:
    """`draw` of a Method on all devices of this process.

    Programs and batches are found once for each shape of a sample's MR, [z, h, w, k].
    """

    def __init__(
        self,
        draw: Callable[..., Samples],
        params: Any,
        devices: Sequence[jax.Device],
        batch: int | None,
    ):
        """`batch`: samples per device; None takes as many as its memory holds."""
        self._devices, self._batch = list(devices), batch
        self._draw = parallel.shared_out(
            lambda shared, keys, mr: draw(shared[0], keys, mr, shared[1]), self._devices
        )
        self._params = parallel.replicate(params, self._devices)
        self._fitting: dict[Shape, int] = {}  # samples per device
        self._compiled: dict[tuple[Shape, int], jax.stages.Compiled] = {}

    def prepare(self, shape: Shape, samples: int) -> int:
        """Compile the function of a batch, and return how many samples it holds.

        Args:
          shape: of a sample's MR, [z, h, w, k].
          samples: how many will be drawn. A device gets no more volumes than its share of them.
        """
        most = self._batch_that_fits(shape)
        each = most if shape[0] == 1 else min(most, -(-samples // len(self._devices)))
        if (shape, each) not in self._compiled:
            self._compiled[shape, each] = self._compile(shape, each)
        return each * len(self._devices)

    def __call__(
        self,
        keys: Key[Array, " n"],
        mr: Float[np.ndarray, "n z h w k"],
        along_z: Float[np.ndarray, "z z"] | None,
    ) -> Samples:
        """The n samples of one batch as NumPy arrays; n is what `prepare` returned."""
        count = len(self._devices)
        draw = self._compiled[mr.shape[1:], len(mr) // count]
        sharded = parallel.shard((keys, mr), count)
        samples = jax.device_get(draw((self._params, along_z), sharded))
        return Samples(*(part.reshape(-1, *part.shape[2:]) for part in samples))

    def _compile(self, shape: Shape, each: int) -> jax.stages.Compiled:
        total = each * len(self._devices)
        keys = slice_keys(0, 0, np.zeros(total, int), np.arange(total))
        sharded = parallel.shard((keys, np.zeros((total, *shape), np.float32)), len(self._devices))
        along_z = None if shape[0] == 1 else np.eye(shape[0], dtype=np.float32)
        return self._draw.lower((self._params, along_z), sharded).compile()

    def _batch_that_fits(self, shape: Shape) -> int:
        """Samples per device. A network sees at most `SLICES` slices of each volume at once."""
        if shape not in self._fitting:
            usual = max(1, (self._batch or BATCH) // min(shape[0], SLICES))
            free = None if self._batch else parallel.free_memory(self._devices[0])
            trial = None if free is None else self._compile(shape, usual).memory_analysis()
            self._fitting[shape] = usual
            if free is not None and trial is not None:
                self._fitting[shape] = samples_that_fit(free, trial.temp_size_in_bytes / usual)
        return self._fitting[shape]


def samples_that_fit(free: float, each: float) -> int:
    """The largest power of two, n, such that n samples of `each` bytes fit in `SHARE` · `free`."""
    most = min(LARGEST, SHARE * free / max(each, 1.0))
    return 2 ** int(np.log2(max(most, 1.0)))
