"""Slabs: neighbouring slices of one patient as one training example."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sde_ct.data.augmentation import IMAGES, Example
from sde_ct.data.dataset import Slices
from sde_ct.data.through_plane import factor
from sde_ct.errors import InputError


class Slabs:
    """Random access to every run of `size` neighbouring slices of a patient.

    `source[i]` is {"mr": [h, w, size·k], "ct": [h, w, size], "valid": [h, w, size], "along_z":
    [f, size, size]}. The slices are channels, one slice after the other, so that all of them are
    augmented alike. "along_z" is the factor of the covariance of the noise between slices, see
    `sampling.along_z`. Patients with fewer than `size` neighbouring slices are left out.
    """

    def __init__(self, source: Slices, size: int, lengths: Sequence[float]):
        """Find the slabs.

        Args:
          source: the slices.
          size: slices in a slab.
          lengths: the correlation lengths of the noise, mm, from `through_plane`.

        Raises:
          InputError: no patient of the split has `size` neighbouring slices.
        """
        self._source, self._size, self._lengths = source, size, lengths
        places = [source.where(i) for i in range(len(source))]
        ends = [(case, z + size - 1) for case, z in places]
        # A slab may not span a slice that `source` leaves out.
        self._first = [i for i, end in enumerate(ends) if places[i + size - 1 : i + size] == [end]]
        if not self._first:
            raise InputError(
                f"config.data.slab={size}: no {source.split} patient has that many neighbouring "
                "slices with a measured CT among config.data.z_slices: give a smaller number, "
                f"select more slices, or prepare {source.split} patients who have more."
            )

    def __len__(self) -> int:
        return len(self._first)

    def where(self, i: int) -> tuple[str, int]:
        """The case, and the index z of the first slice, of example i."""
        return self._source.where(self._first[i])

    def __getitem__(self, i: int) -> Example:
        first = self._first[i]
        slices = [self._source[first + z] for z in range(self._size)]
        stacked = {name: np.concatenate([one[name] for one in slices], -1) for name in IMAGES}
        distance = self._source.slice_mm(first)
        return stacked | {"along_z": factor(self._lengths, distance, self._size)}


def as_slices(batch: Example, size: int) -> dict[str, Any]:
    """Turn a batch of b slabs into one of b·size slices; each image is [b·size, h, w, ·]."""
    if size == 1:
        return dict(batch)
    return {name: _apart(field, size) if name in IMAGES else field for name, field in batch.items()}


def _apart(field: np.ndarray, size: int) -> np.ndarray:
    b, h, w, _ = field.shape
    return np.moveaxis(field.reshape(b, h, w, size, -1), 3, 1).reshape(b * size, h, w, -1)
