"""Make synthetic CTs of MR volumes with one trained network."""

import math
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from sde_ct.data import seen, through_plane
from sde_ct.data.inputs import NetworkInput
from sde_ct.data.regions import signal
from sde_ct.errors import InputError
from sde_ct.methods import build_sampled, takes_sampler
from sde_ct.methods.decomposition import has_draws
from sde_ct.methods.samplers import MEAN, SAMPLERS
from sde_ct.methods.slices import SLICES
from sde_ct.runtime.scratch import scratch
from sde_ct.sampling.along_z import Factor
from sde_ct.sampling.keys import slice_keys
from sde_ct.synthesis.batched import Batched
from sde_ct.synthesis.synthetic_ct import Drawn, SyntheticCT, combine
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty.draws import air_figures
from sde_ct.volumes.volume import Volume

MOST_DRAWS, MOST_BATCH = 10_000, 4096  # of one network, and on one device
# If the network has a regression, up to `ALONE` draws evaluate it once each. More draws share two
# evaluations, of the MR and of its mirror image. But a draw that is a volume of more voxels than
# `SHARED_UP_TO` evaluates the regression itself, because both means would need a third more memory.
ALONE = 2
SHARED_UP_TO = 128 * 256**2


class Synthesizer:
    """Draws synthetic CTs from one trained network with one sampler.

    A sample is one draw of a slice, or of a whole volume if the noise of its slices is correlated.
    All samples of a volume form one list, which is cut into batches of one size; the last batch is
    padded. The function of a batch is compiled once for each shape. The random key of a sample
    depends on (seed, case, slice, draw) alone.
    """

    def __init__(
        self,
        trained: Trained,
        sampler: str | None,
        devices: Sequence[jax.Device] | None = None,
        batch: int | None = None,
    ):
        """Prepare a network for synthesis.

        Args:
          trained: the network.
          sampler: one of `methods.samplers.SAMPLERS`, or `methods.samplers.MEAN` for the regression
            of a residual, joint or distilled network; None for methods that take no sampler.
          devices: devices of this process; None takes all of them.
          batch: slices per device; None takes as many as the memory holds. Another batch size
            changes voxels only by rounding, unless `config.sampling.batch_mean_step` makes each
            sample depend on its batch.
        """
        if batch is not None and not 1 <= batch <= MOST_BATCH:
            raise InputError(f"batch={batch}: give 1 to {MOST_BATCH}.")
        self._trained, self._sampler = trained, sampler
        method = build_sampled(trained.config, sampler=sampler)
        self.is_random = method.is_random  # whether draws differ
        if takes_sampler(trained.config) and sampler is None:
            raise InputError(
                f"The method {trained.config.method!r} needs a sampler: give one of "
                f"{', '.join(SAMPLERS)}. 'unipc' needs the fewest evaluations."
            )
        if method.is_random and not has_draws(trained.params):
            raise InputError(
                f"The denoiser has not been trained yet at step {trained.step}, so there are no "
                f"draws: train longer, or give the sampler {MEAN!r}."
            )
        devices = list(devices or jax.local_devices())
        self._has_means = method.means is not None
        channels = trained.config.data.channels
        self._batched = Batched(method, channels, trained.params, devices, batch)

    @property
    def air(self) -> float:
        """The HU of voxels that no slice reaches."""
        return self._trained.intensity.ct.low

    def __call__(self, mr: Volume, *, case: str, draws: int = 10, **options: Any) -> SyntheticCT:
        """The synthetic CT on the MR's grid; arguments and errors are those of `draw`."""
        return combine([self.draw(mr, case=case, draws=draws, **options)], self.air)

    def draw(
        self,
        mr: Volume,
        *,
        case: str,
        draws: int = 10,
        first: int = 0,
        seed: int = 0,
        further: Sequence[Volume] = (),
        mask: Volume | None = None,
        progress: Callable[[range], Any] = iter,
    ) -> Drawn:
        """Draw synthetic CTs of a volume.

        Args:
          mr: the first MR contrast, in arbitrary units, any orientation and spacing.
          case: the patient's name, which enters the random keys.
          draws: the number of independent draws; 1 for a method without randomness.
          first: the number of the first draw; draws with different numbers are independent.
          seed: the seed of the draws.
          further: the other MR contrasts, in the order of the training, on any grid.
          mask: the region in which the spread is checked for collapse; None takes the body.
          progress: wraps the range of the batches' first indices in the list of samples. In this
            list, the draws of one slice are adjacent.

        Raises:
          InputError: this number of draws or contrasts is not possible, `network_input` refuses the
            MR or the mask, a draw is not finite, or a sampler did not reach its end.
        """
        self.require_draws(draws)
        config = self._trained.config
        if 1 + len(further) != config.data.contrasts:
            raise InputError(
                f"{case}: {1 + len(further)} MR contrasts are given, but the network needs "
                f"{config.data.contrasts} ({', '.join(self._trained.contrasts)})."
            )
        given = self._trained.input_of(mr, mask, further=further, name=case)
        hu, evaluations, seconds = self._sample(
            given, case, np.arange(first, first + draws), seed, progress
        )
        ct, trained_on = self._trained.intensity.ct, self._trained.data.get("seen")
        figures = seen.figures(given.grid, given.body, given.percentiles)
        unseen = seen.warnings(trained_on, figures)
        if other := seen.contrast_warning(trained_on, given.percentiles):
            unseen.append(other)
        empty = signal.empty_slices(mr)
        unseen += signal.warnings(empty, "the CT is set to air there.")
        for one in hu:  # in place
            np.clip(ct.to_hu(one), ct.low, ct.high, out=one)
            one[empty] = ct.low
        air = air_figures(hu, given.air, ct.low)
        return Drawn(hu, given, evaluations, seconds, tuple(unseen), air)

    def require_draws(self, draws: int) -> None:
        """Raise InputError if this network cannot give the number of draws."""
        if not 1 <= draws <= MOST_DRAWS:
            raise InputError(f"draws={draws}: give 1 to {MOST_DRAWS}.")
        if draws > 1 and not self.is_random:
            name, method = self._sampler, self._trained.config.method
            by = f"the sampler {name!r}" if name else f"the method {method!r}"
            raise InputError(f"draws={draws}: {by} always gives the same CT; give 1.")

    def _sample(
        self,
        given: NetworkInput,
        case: str,
        draws: np.ndarray,
        seed: int,
        progress: Callable[[range], Any],
    ) -> tuple[Float[np.ndarray, "m z h w"], float, float]:
        """All draws in model units, and the evaluations and seconds per slice and draw."""
        depth, case_number = len(given.mr), zlib.crc32(case.encode()) & 0x7FFFFFFF
        config = self._trained.config
        # With dropout, all slices of a draw have one key, and so the same network.
        own_noise = not (config.sampling.shared_noise or config.network.dropout)
        shown, seconds = given.mr, 0.0
        if self._shares_means(given.mr, len(draws)):
            shown, seconds = self._batched.with_means(given.mr)
        means = shown.shape[-1] - given.mr.shape[-1]
        mr, along_z = self._stacked(shown, given.grid.slice_mm)
        stacks, numbers = (a.ravel() for a in np.meshgrid(np.arange(len(mr)), draws, indexing="ij"))
        batch = self._batched.prepare(mr.shape[1:], len(stacks), along_z)
        padded = np.arange(-(-len(stacks) // batch) * batch).clip(max=len(stacks) - 1)
        # The only array of all draws: ten draws of a large volume take a gigabyte.
        kept = scratch((len(draws), depth, *mr.shape[2:4]))
        x = kept.array
        nfe, ok, start = np.empty(len(stacks)), np.empty(len(stacks), bool), time.perf_counter()

        def fill(begin: int) -> None:  # a function, so that no batch is kept during the next one
            rows = padded[begin : begin + batch]
            # Making all keys at once would need a new program for each number of slices.
            keys = slice_keys(seed, case_number, stacks[rows] * own_noise, numbers[rows])
            # One volume is not copied for each of its draws.
            shape = (len(rows), *mr.shape[1:])
            each = mr[stacks[rows]] if len(mr) > 1 else np.broadcast_to(mr, shape)
            samples = self._batched(keys, each, along_z)
            for row, one, *figures in zip(range(begin, len(stacks)), *samples, strict=False):
                first = row // len(draws) * mr.shape[1]  # the sample's lowest slice
                x[row % len(draws), first:][: len(one)] = one[: depth - first, ..., 0]
                nfe[row], ok[row] = figures
            kept.release()

        for begin in progress(range(0, len(stacks), batch)):
            fill(begin)
        seconds += time.perf_counter() - start

        if not ok.all():
            raise InputError(
                f"{case}: {np.sum(~ok)} of {ok.size} draws are not finite or did not reach their "
                "end: use more steps or a looser tolerance, or train longer."
            )
        return x, float(nfe.mean()) + means / len(draws), seconds / (depth * len(draws))

    def _shares_means(self, mr: Float[np.ndarray, "z h w k"], draws: int) -> bool:
        large = self._together(len(mr)) and math.prod(mr.shape[:3]) > SHARED_UP_TO
        return self._has_means and draws > ALONE and not large

    def _together(self, depth: int) -> bool:
        """Whether a volume of this depth is one sample, because its noise is correlated."""
        wanted = self._trained.config.sampling.correlated_noise and self.is_random
        return bool(wanted and self._trained.data.get("along_z_mm") and depth > 1)

    def _stacked(
        self, shown: Float[np.ndarray, "z h w k"], slice_mm: float
    ) -> tuple[Float[np.ndarray, "n z h w k"], Factor | None]:
        """The MR of each slice or volume, and the factor of the noise's covariance.

        In a volume of more than `SLICES` slices, the last slice is repeated up to a multiple of
        `SLICES`, so that volumes of similar depth share a program. The copies do not change the
        other slices, unless the network has layers between slices. Then nothing is repeated.
        """
        depth = len(shown)
        if not self._together(depth):
            return shown[:, None], None
        related = self._trained.config.data.slab > 1
        more = -depth % SLICES if depth > SLICES and not related else 0
        volume = np.pad(shown, ((0, more), (0, 0), (0, 0), (0, 0)), "edge")
        length = self._trained.data["along_z_mm"]
        return volume[None], through_plane.factor(length, slice_mm, depth + more)
