"""Prepared slices as batches, in a Grain pipeline whose batches depend on (seed, step) alone."""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import grain
import numpy as np
from grain.sources import RandomAccessDataSource
from jaxtyping import Float

from sde_ct.data.augmentation import Example, augment
from sde_ct.data.contrasts import stacked
from sde_ct.data.inputs import neighbour_index, require_slices
from sde_ct.data.intensity import Intensity, SliceMinMax
from sde_ct.data.prepared import Prepared, PreparedCase
from sde_ct.errors import InputError

# Number of batches made at once. A deformed slice of 256 x 256 pixels takes a core about 25 ms.
THREADS = min(8, max(2, os.cpu_count() or 2))


class Slices:
    """Random access to the slices of one split, in model units.

    `source[i]` is {"mr": [h, w, k], "ct": [h, w, 1], "valid": [h, w, 1]}, float32, with
    k = contrasts·(1 + 2·neighbours). Slices in which the CT measured no pixel are left out.
    """

    def __init__(
        self,
        prepared: Prepared,
        split: str,
        intensity: Intensity,
        *,
        neighbours: int = 0,
        contrasts: int = 1,
        z_slices: str = "::",
    ):
        """Select the slices.

        Args:
          prepared: the data.
          split: "train", "validation" or "test".
          intensity: the maps to model units.
          neighbours: MR slices on each side of a slice; the end slices of a volume are repeated.
          contrasts: the number of MR contrasts to use, from the first one on.
          z_slices: the slices to use of every case, in Python's notation; "0::2" selects the even
            ones. A slice that is left out may still be a neighbour of another one.

        Raises:
          InputError: the split is unknown, `z_slices` is not in this notation, `neighbours` is
            negative, a case has fewer slices than 1 + 2·neighbours, or nothing is selected.
        """
        if split not in prepared.split:
            raise InputError(f"split {split!r} is unknown: use {', '.join(prepared.split)}")
        chosen = parse_slices(z_slices)
        self.split, self._cases = split, prepared.of(split)
        self._intensity = intensity
        self._neighbours, self._contrasts = neighbours, contrasts
        self._index: list[tuple[int, int]] = []
        for number, case in enumerate(self._cases):
            require_slices(len(case), neighbours, f"{prepared.folder}: case {case.id}")
            unmeasured = set(case.record["unmeasured_slices"])
            self._index += [(number, z) for z in range(len(case))[chosen] if z not in unmeasured]
        if not self._index:
            raise InputError(
                f"{prepared.folder}: split {split!r} has no measured slices in "
                f"z_slices={z_slices!r}: prepare more patients or select other slices"
            )

    def __len__(self) -> int:
        return len(self._index)

    def where(self, i: int) -> tuple[str, int]:
        """The case, and the index z of the slice, of example i."""
        number, z = self._index[i]
        return self._cases[number].id, z

    def slice_mm(self, i: int) -> float:
        """The distance between the slices of example i's patient, in mm."""
        return self._cases[self._index[i][0]].grid.slice_mm

    def __getitem__(self, i: int) -> Example:
        """Raises InputError if the MR holds NaN or infinite values."""
        number, z = self._index[i]
        # Memory maps are closed at once, because a cohort may have more files than a process may
        # open.
        case = self._cases[number]
        shown = neighbour_index(np.array([z]), len(case), self._neighbours)[0]
        mr = [
            self._intensity.mr.to_model(finite(case, name, shown), percentiles)[None]
            for name, percentiles in list(case.mrs.items())[: self._contrasts]
        ]
        return {
            "mr": stacked(mr)[0],
            "ct": self._intensity.ct.to_model(np.array(case.load("ct")[z]))[..., None],
            "valid": np.array(case.load("valid")[z], np.float32)[..., None],
        }


def finite(case: PreparedCase, name: str, shown: np.ndarray | slice) -> Float[np.ndarray, "k h w"]:
    """Read slices of an MR contrast. Raises InputError if they hold NaN or infinite values."""
    slices = case.load(name)[shown]
    if not np.isfinite(slices).all():
        raise InputError(
            f"{case.folder / name}.npy holds NaN or infinite values: prepare the data again"
        )
    return slices


def parse_slices(text: str) -> slice:
    """Parse "start:stop:step", as in Python's brackets."""
    try:
        if not re.fullmatch(r"-?\d*:-?\d*(:-?\d*)?", text):
            raise ValueError
        chosen = slice(*(int(part) if part else None for part in text.split(":")))
        range(1)[chosen]  # this refuses a step of 0
    except ValueError:
        raise InputError(f"z_slices = {text!r}: write start:stop:step, as in '0::2'") from None
    return chosen


def train_iterator(
    source: RandomAccessDataSource[Example],
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    rotate90: bool = False,
    deform: float = 0.0,
    shard_index: int = 0,
    shard_count: int = 1,
) -> grain.DatasetIterator:
    """Endless shuffled batches, with images [b, h, w, ·]; every epoch has its own order.

    The seed fixes one endless stream of examples, whatever the number of hosts. Batch `step` begins
    at example step·batch_size of this stream, and shard i of n gets the i-th of n equal parts of
    the batch.

    Args:
      source: the training slices.
      batch_size: examples per step in all shards together; a multiple of `shard_count`.
      seed: determines order and augmentation.
      flip: mirror left-right with probability 1/2.
      rotate90: rotate by 90°, 180° or 270° with probability 1/2, as in arXiv 2209.12104; square
        slices only.
      deform: the strength of a deformation, applied with probability 1/2; 0 deforms nothing.
      shard_index, shard_count: this host and the number of hosts.

    Returns:
      An iterator. Its `get_state()` returns a small dict of plain values, and `set_state` restores
      it, so that the next batch is the same as without an interruption.
    """
    if batch_size < 1 or batch_size % shard_count:
        raise InputError(
            f"batch_size = {batch_size}: give a positive multiple of {shard_count}, the number of "
            "hosts"
        )
    height, width = source[0]["ct"].shape[:2]
    if rotate90 and height != width:
        raise InputError(
            f"rotate90 needs square slices, but these are {height} x {width}: turn it off"
        )
    stream = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    stream = stream.random_map(partial(augment, flip=flip, rotate90=rotate90, deform=deform))
    share = batch_size // shard_count

    def batch(step: int) -> Example:
        first = step * batch_size + shard_index * share
        return _stack([stream[row] for row in range(first, first + share)])

    steps = grain.MapDataset.range(sys.maxsize // batch_size).map(batch)
    reading = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=2 * THREADS)
    return iter(steps.to_iter_dataset(reading))


def eval_batches(source: RandomAccessDataSource[Example], batch_size: int) -> Iterator[Example]:
    """All examples once, in order, in batches of `batch_size`; the last may be smaller."""
    if batch_size < 1:
        raise InputError(f"batch_size = {batch_size}: give 1 or more")
    for first in range(0, len(source), batch_size):
        yield _stack([source[i] for i in range(first, min(first + batch_size, len(source)))])


def fit_intensity(intensity: Intensity, prepared: Prepared) -> Intensity:
    """The intensity maps with the values that are fitted to the training patients.

    Only the inverse of a per-slice CT map needs such values: `low` and `high` become the medians,
    over all slices of the training patients, of the minimum and maximum of a slice in HU.
    """
    if not isinstance(intensity.ct, SliceMinMax):
        return intensity
    volumes = (case.load("ct") for case in prepared.of("train"))
    limits = [(ct.min(axis=(1, 2)), ct.max(axis=(1, 2))) for ct in volumes]
    low, high = np.median(np.concatenate(limits, axis=1), axis=1)
    return replace(intensity, ct=SliceMinMax(float(low), float(high)))


def _stack(examples: list[Example]) -> Example:
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}
