"""Draws of one network for one MR volume, and what they say together."""

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sde_ct.data import seen
from sde_ct.data.inputs import NetworkInput, network_input
from sde_ct.errors import InputError
from sde_ct.methods import build_network
from sde_ct.methods.sample import draw_fn, slice_keys
from sde_ct.runtime import parallel
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty.calibration import spread_warning
from sde_ct.uncertainty.draws import moments
from sde_ct.volumes.slice_grid import from_slices
from sde_ct.volumes.volume import Volume

# Samples a device at once where it does not tell its memory; the same for any number of devices,
# so that voxels do not depend on it.
BATCH = 10
LARGEST = 256  # more gains nothing on the largest GPUs
SHARE = 0.8  # of the free memory that a batch may take


@dataclass(frozen=True)
class SyntheticCT:
    """Draws of one patient's CT, in HU on the MR's grid, and what they cost."""

    draws: tuple[Volume, ...]
    mean: Volume
    spread: Volume | None  # standard deviation over draws, HU; None for a single draw
    evaluations: float  # network evaluations a slice and draw, mean
    seconds: float  # a slice and draw, without compilation
    slices: int
    unseen: tuple[str, ...] = ()  # what of the MR the network has never seen
    collapsed: str | None = None  # of a spread that says nothing
    # Of several networks, see `ensemble.join`; standard deviations, HU.
    within: Volume | None = None
    between: Volume | None = None
    # Bounds of calibrated intervals, see `calibrated.apply`; HU.
    lower: Volume | None = None
    upper: Volume | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that a reader must know before trusting the voxels."""
        return (*self.unseen, *filter(None, [self.collapsed]))


class Drawn(NamedTuple):
    """Draws of one network, not yet put back on the MR's grid."""

    hu: Float[np.ndarray, "m z h w"]
    shown: NetworkInput
    evaluations: float  # a slice and draw, mean
    seconds: float  # a slice and draw, without compilation
    unseen: tuple[str, ...]  # what of the MR the network has never seen


class Synthesizer:
    """Draws synthetic CTs from one trained network with one sampler.

    The function of a batch is compiled once for a slice size and serves all volumes of it. All
    slices and draws of a volume form one list, cut into batches of one size, the last one filled
    up. A sample's key comes from (seed, case, slice, draw) alone.
    """

    def __init__(
        self,
        trained: Trained,
        sampler: str | None,
        devices: Sequence[jax.Device] | None = None,
        batch: int | None = None,
    ):
        """`sampler`: one of `methods.sample.SAMPLERS`; None for a CNN or GAN.

        `devices`: of this process; None takes them all. `batch`: samples a device at once; None
        finds what its memory holds. Another batch size changes voxels by rounding alone, unless
        `config.sampling.batch_mean_step` makes each sample depend on its batch.
        """
        if batch is not None and batch < 1:
            raise InputError(f"batch={batch}: give 1 or more.")
        self._batch = batch
        self._trained = trained
        self._devices = list(devices or jax.local_devices())
        draw = draw_fn(trained.config, sampler)
        self._draw = parallel.shared_out(draw, self._devices)
        self._params = parallel.replicate(trained.params, self._devices)
        # By the shape of a slice: the compiled function and its samples a device.
        self._compiled: dict[tuple[int, ...], tuple[jax.stages.Compiled, int]] = {}

    @property
    def is_random(self) -> bool:
        """Whether draws differ; those of a CNN or GAN do not."""
        return self._trained.config.method == "diffusion"

    @property
    def air(self) -> float:
        """HU of what no slice reaches."""
        return self._trained.intensity.ct.low

    def __call__(
        self,
        mr: Volume,
        *,
        case: str,
        draws: int = 10,
        seed: int = 0,
        mask: Volume | None = None,
        progress: Callable[[range], Any] = iter,
    ) -> SyntheticCT:
        """`draw`, put back on the MR's grid."""
        drawn = self.draw(mr, case=case, draws=draws, seed=seed, mask=mask, progress=progress)
        return summary(drawn, self.air)

    def draw(
        self,
        mr: Volume,
        *,
        case: str,
        draws: int = 10,
        first: int = 0,
        seed: int = 0,
        mask: Volume | None = None,
        progress: Callable[[range], Any] = iter,
    ) -> Drawn:
        """Synthesize a volume.

        Args:
          mr: T2w MR in arbitrary units, any orientation and spacing.
          case: the patient's name; it enters the random keys.
          draws: independent draws, 1 or more; 1 for a CNN or GAN, which know no randomness.
          first: the number of the first draw; draws of another number are independent.
          seed: of the draws.
          mask: the body on the MR's grid; None computes it.
          progress: wraps the batches, which begin at these places in the list of slices and
            draws; the draws of a slice lie together.

        Raises:
          InputError: draws out of range, an unusable MR, or draws that did not end finite.
        """
        self.require_draws(draws)
        shown = self._show(mr, mask, case)
        numbers = first + np.arange(draws)
        x, evaluations, seconds = self._sample(shown, case, numbers, seed, progress)
        ct = self._trained.intensity.ct
        hu = np.clip(ct.to_hu(x), ct.low, ct.high)
        unseen = seen.warnings(
            self._trained.data.get("seen"), seen.figures(shown.grid, shown.mask, shown.percentiles)
        )
        return Drawn(hu, shown, evaluations, seconds, tuple(unseen))

    def require_draws(self, draws: int) -> None:
        """Refuse a number of draws that this network cannot give."""
        if draws < 1:
            raise InputError(f"draws={draws}: give 1 or more.")
        if draws > 1 and not self.is_random:
            method = self._trained.config.method
            raise InputError(f"draws={draws}: a {method} always gives the same CT; give 1.")

    def _show(self, mr: Volume, mask: Volume | None, case: str) -> NetworkInput:
        config, data = self._trained.config, self._trained.data
        return network_input(
            mr,
            self._trained.intensity.mr,
            mask,
            neighbours=config.data.neighbours,
            spacing=tuple(data["spacing"]) if data["spacing"] else None,
            size=tuple(data["size"]),
            multiple=build_network(config).multiple,
            name=case,
        )

    def _sample(
        self,
        shown: NetworkInput,
        case: str,
        draws: np.ndarray,
        seed: int,
        progress: Callable[[range], Any],
    ) -> tuple[Float[np.ndarray, "m z h w"], float, float]:
        """All draws in model units, evaluations and seconds a slice and draw."""
        depth, count = len(shown.mr), len(self._devices)
        slices, numbers = (a.ravel() for a in np.meshgrid(np.arange(depth), draws, indexing="ij"))
        draw, each = self._draw_for(shown.mr.shape[1:])
        batch = each * count
        padded = np.arange(-(-len(slices) // batch) * batch).clip(max=len(slices) - 1)
        number = zlib.crc32(case.encode()) & 0x7FFFFFFF
        own_noise = not self._trained.config.sampling.shared_noise
        results, start = [], time.perf_counter()
        for first in progress(range(0, len(slices), batch)):
            rows = padded[first : first + batch]
            # A batch at a time: keys of all would be compiled anew for every number of slices.
            keys = slice_keys(seed, number, slices[rows] * own_noise, numbers[rows])
            sharded = parallel.shard((keys, shown.mr[slices[rows]]), count)
            samples = jax.device_get(draw(self._params, sharded))
            results.append([part.reshape(-1, *part.shape[2:]) for part in samples])
        seconds = (time.perf_counter() - start) / len(slices)

        x, nfe, ok = (np.concatenate(part)[: len(slices)] for part in zip(*results, strict=True))
        if not ok.all():
            raise InputError(
                f"{case}: {np.sum(~ok)} of {ok.size} draws did not come to a finite end: "
                "take more steps or a looser tolerance, or train longer."
            )
        x = x[..., 0].reshape(depth, len(draws), *x.shape[1:3])
        return np.moveaxis(x, 1, 0), float(nfe.mean()), seconds

    def _draw_for(self, shape: tuple[int, int, int]) -> tuple[jax.stages.Compiled, int]:
        """The function of a batch compiled for slices of `shape`, and its samples a device."""
        if shape not in self._compiled:
            batch = self._batch or self._batch_that_fits(shape)
            self._compiled[shape] = self._compile(shape, batch), batch
        return self._compiled[shape]

    def _compile(self, shape: tuple[int, int, int], batch: int) -> jax.stages.Compiled:
        total = batch * len(self._devices)
        keys = slice_keys(0, 0, jnp.zeros(total, int), jnp.arange(total))
        sharded = parallel.shard((keys, np.zeros((total, *shape), np.float32)), len(self._devices))
        return self._draw.lower(self._params, sharded).compile()

    def _batch_that_fits(self, shape: tuple[int, int, int]) -> int:
        free = parallel.free_memory(self._devices[0])
        trial = None if free is None else self._compile(shape, BATCH).memory_analysis()
        if free is None or trial is None:
            return BATCH
        return samples_that_fit(free, trial.temp_size_in_bytes / BATCH)


def summary(drawn: Drawn, air: float) -> SyntheticCT:
    """The draws on the MR's grid, `air` where no slice reaches, and the mean and spread of those.

    Interpolation blurs what varies from draw to draw, so that the spread is taken after it.
    """
    hu, shown, several = drawn.hu, drawn.shown, len(drawn.hu) > 1
    collapsed = spread_warning(hu, shown.mask[..., 0]) if several else None
    draws = tuple(from_slices(draw, shown.grid, fill=air) for draw in hu)
    mean, spread = draws[0], None
    if several:
        average, variance = moments([draw.array for draw in draws])
        mean = mean.with_array(average.astype(np.float32))
        spread = mean.with_array(np.sqrt(variance).astype(np.float32))
    return SyntheticCT(
        draws=draws,
        mean=mean,
        spread=spread,
        evaluations=drawn.evaluations,
        seconds=drawn.seconds,
        slices=len(shown.mr),
        unseen=drawn.unseen,
        collapsed=collapsed,
    )


def samples_that_fit(free: float, each: float) -> int:
    """The largest power of two of samples of `each` bytes within `SHARE` of `free` bytes."""
    most = min(LARGEST, SHARE * free / max(each, 1.0))
    return 2 ** int(np.log2(max(most, 1.0)))
