"""From a checkpoint and an MR volume to a synthetic CT on the MR's own grid."""

import dataclasses
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from sde_ct import parallel
from sde_ct.config import Experiment
from sde_ct.data.grid import from_slices
from sde_ct.data.inputs import NetworkInput, network_input
from sde_ct.data.intensity import Intensity
from sde_ct.data.volume import Volume
from sde_ct.errors import InputError
from sde_ct.methods import build_method, build_network
from sde_ct.methods.sample import draw_fn, slice_keys, with_evaluations
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.experiment import read_experiment
from sde_ct.training.loop import fresh_state

# Samples a device at once where it does not tell its memory; the same for any number of devices,
# so that voxels do not depend on it.
BATCH = 10
LARGEST = 256  # more gains nothing on the largest GPUs
SHARE = 0.8  # of the free memory that a batch may take


class Trained(NamedTuple):
    """A trained network and all that is needed to use it."""

    config: Experiment
    data: dict[str, Any]  # the description of the training data
    params: Any
    step: int

    @property
    def intensity(self) -> Intensity:
        return Intensity.from_json(self.data["intensity"])


def load(workdir: Path) -> Trained:
    """The newest checkpoint of a work directory, with its sampling weights.

    Raises:
      InputError: no work directory, or nothing was saved in it yet.
    """
    config, data = read_experiment(workdir)
    checkpoints = Checkpoints(workdir, keep=None)
    if checkpoints.latest is None:
        raise InputError(f"{workdir} holds no checkpoint yet: train first.")
    method = build_method(config)
    state, _ = checkpoints.restore(lambda: fresh_state(method, config, tuple(data["size"])))
    return Trained(config, data, method.weights(jax.device_get(state)), checkpoints.latest)


def with_budget(trained: Trained, sampler: str | None, evaluations: int) -> Trained:
    """The network with a sampler's steps set for so many evaluations a draw.

    Raises InputError where the method or the sampler has no such choice.
    """
    if trained.config.method != "diffusion":
        raise InputError(
            f"A {trained.config.method} takes one evaluation: leave out --evaluations."
        )
    if trained.config.diffusion.times == "listed":
        levels = len(trained.config.diffusion.listed)
        raise InputError(f"This network takes its {levels} evaluations: leave out --evaluations.")
    options = with_evaluations(trained.config.sampling, sampler or "", evaluations)
    return trained._replace(config=dataclasses.replace(trained.config, sampling=options))


@dataclass(frozen=True)
class SyntheticCT:
    """Draws of one patient's CT, in HU on the MR's grid, and what they cost."""

    draws: tuple[Volume, ...]
    mean: Volume
    spread: Volume | None  # standard deviation over draws, HU; None for a single draw
    evaluations: float  # network evaluations a slice and draw, mean
    seconds: float  # a slice and draw, without compilation
    slices: int


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

        `batch`: samples a device at once; None finds what its memory holds. Another batch size
        changes voxels by rounding alone.
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
        self._compiled: dict[tuple[int, ...], tuple[Callable, int]] = {}

    def __call__(
        self,
        mr: Volume,
        *,
        case: str,
        draws: int = 10,
        seed: int = 0,
        mask: Volume | None = None,
        progress: Callable[[Any], Any] = iter,
    ) -> SyntheticCT:
        """Synthesize a volume.

        Args:
          mr: T2w MR in arbitrary units, any orientation and spacing.
          case: the patient's name; it enters the random keys.
          draws: independent draws, 1 or more; 1 for a CNN or GAN, which know no randomness.
          seed: of the draws.
          mask: the body on the MR's grid; None computes it.
          progress: wraps the list of batches.

        Raises:
          InputError: draws out of range, an unusable MR, or draws that did not end finite.
        """
        if draws < 1:
            raise InputError(f"draws={draws}: give 1 or more.")
        method = self._trained.config.method
        if draws > 1 and method != "diffusion":
            raise InputError(f"draws={draws}: a {method} always gives the same CT; give 1.")
        shown = self._show(mr, mask, case)
        x, evaluations, seconds = self._sample(shown, case, draws, seed, progress)
        intensity = self._trained.intensity
        hu = np.clip(intensity.ct.to_hu(x), intensity.ct.low, intensity.ct.high)

        def place(slices: np.ndarray, fill: float) -> Volume:
            return from_slices(slices, shown.grid, unit="HU", fill=fill)

        air = intensity.ct.low
        return SyntheticCT(
            draws=tuple(place(draw, air) for draw in hu),
            mean=place(hu.mean(0), air),
            spread=place(hu.std(0, ddof=1), 0.0) if draws > 1 else None,
            evaluations=evaluations,
            seconds=seconds,
            slices=len(shown.mr),
        )

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
        self, shown: NetworkInput, case: str, draws: int, seed: int, progress: Callable
    ) -> tuple[Float[np.ndarray, "m z h w"], float, float]:
        """All draws in model units, evaluations and seconds a slice and draw."""
        depth, count = len(shown.mr), len(self._devices)
        slices, numbers = (a.ravel() for a in np.indices((depth, draws)))
        draw, each = self._draw_for(shown.mr.shape[1:])
        batch = each * count
        padded = np.arange(-(-len(slices) // batch) * batch).clip(max=len(slices) - 1)
        number = zlib.crc32(case.encode()) & 0x7FFFFFFF
        keys = slice_keys(seed, number, slices[padded], numbers[padded])
        results, start = [], time.perf_counter()
        for first in progress(range(0, len(padded), batch)):
            rows = slice(first, first + batch)
            mr = shown.mr[slices[padded[rows]]]
            samples = jax.device_get(draw(self._params, parallel.shard((keys[rows], mr), count)))
            results.append([part.reshape(-1, *part.shape[2:]) for part in samples])
        seconds = (time.perf_counter() - start) / len(slices)

        x, nfe, ok = (np.concatenate(part)[: len(slices)] for part in zip(*results, strict=True))
        if not ok.all():
            raise InputError(
                f"{case}: {np.sum(~ok)} of {ok.size} draws did not come to a finite end: "
                "take more steps or a looser tolerance, or train longer."
            )
        x = x[..., 0].reshape(depth, draws, *x.shape[1:3])
        return np.moveaxis(x, 1, 0), float(nfe.mean()), seconds

    def _draw_for(self, shape: tuple[int, int, int]) -> tuple[Callable, int]:
        """The function of a batch compiled for slices of `shape`, and its samples a device."""
        if shape not in self._compiled:
            batch = self._batch or self._batch_that_fits(shape)
            self._compiled[shape] = self._compile(shape, batch), batch
        return self._compiled[shape]

    def _compile(self, shape: tuple[int, int, int], batch: int) -> Callable:
        total = batch * len(self._devices)
        keys = slice_keys(0, 0, np.zeros(total, int), np.arange(total))
        sharded = parallel.shard((keys, np.zeros((total, *shape), np.float32)), len(self._devices))
        return self._draw.lower(self._params, sharded).compile()

    def _batch_that_fits(self, shape: tuple[int, int, int]) -> int:
        free = parallel.free_memory(self._devices[0])
        if free is None:
            return BATCH
        trial = self._compile(shape, BATCH).memory_analysis()
        return samples_that_fit(free, trial.temp_size_in_bytes / BATCH)


def samples_that_fit(free: float, each: float) -> int:
    """The largest power of two of samples of `each` bytes within `SHARE` of `free` bytes."""
    most = min(LARGEST, SHARE * free / max(each, 1.0))
    return 2 ** int(np.log2(max(most, 1.0)))


def case_name(mr: Path) -> str:
    """The name of a volume's case: its file's, or its folder's in SynthRAD's layout."""
    stem = mr.name.removesuffix(".gz").removesuffix(".nii")
    return mr.absolute().parent.name if stem == "mr" else stem
