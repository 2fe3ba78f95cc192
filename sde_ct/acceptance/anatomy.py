"""The distances of an MR's slices to the training slices, by the network's coarse features.

The vector of a slice holds the means of the network's coarsest features in `CELLS` x `CELLS` cells,
so that the position of structures counts. The vector is projected onto `DIMENSIONS` random
directions, which preserves distances to about 10 %, up to a common factor (Johnson & Lindenstrauss,
1984). The projection needs no fit, so it treats new patients and training patients alike.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CELLS, DIMENSIONS = 4, 64
NEAR = 0.15  # a slice is compared with training slices at most this share of the volume away
# The MR as it is, mirrored from left to right, turned front to back, and both.
FLIPS = ((), (2,), (1,), (1, 2))

Slices = Float[np.ndarray, "z d"]


def project(coarse: Float[np.ndarray, "z h w c"]) -> Slices:
    """The vectors of slices from the network's coarse features."""
    means = [
        cell.mean(axis=(1, 2))
        for rows in np.array_split(coarse, min(CELLS, coarse.shape[1]), axis=1)
        for cell in np.array_split(rows, min(CELLS, coarse.shape[2]), axis=2)
    ]
    flat = np.concatenate(means, axis=1).astype(np.float64)
    directions = np.random.default_rng(0).normal(size=(flat.shape[1], DIMENSIONS))
    return flat @ directions / np.sqrt(flat.shape[1])


class Distances(NamedTuple):
    """The distances of one MR's slices to the nearest training slices."""

    mean: float
    worst: float
    turned: float  # the smallest mean after turning the MR front to back or upside down


class Atlas(NamedTuple):
    """The slices of the training patients."""

    patients: Sequence[str]  # of each slice
    positions: Float[np.ndarray, " n"]  # from 0 at the feet to 1 at the head
    slices: Float[np.ndarray, "n d"]

    @classmethod
    def of(cls, patients: Mapping[str, Slices]) -> "Atlas":
        """The atlas of patients, by name."""
        return cls(
            [name for name, slices in patients.items() for _ in slices],
            np.concatenate([_positions(len(slices)) for slices in patients.values()]),
            np.concatenate(list(patients.values())),
        )

    def distances(self, flips: Sequence[Slices], without: str = "") -> Distances:
        """The distances of a patient's slices to the nearest training slices.

        Args:
          flips: the slices of the MR in each of the `FLIPS`.
          without: the patient's name, if he is a training patient, whose own slices do not count.
        """
        others = np.array([name != without for name in self.patients])
        own = self._nearest(flips[0], others)
        upside_down = [self._nearest(one[::-1], others).mean() for one in flips]
        turned = [*(self._nearest(one, others).mean() for one in flips[2:]), *upside_down]
        return Distances(float(own.mean()), float(own.max()), float(min(turned)))

    def _nearest(self, slices: Slices, others: np.ndarray) -> Float[np.ndarray, " z"]:
        places = _positions(len(slices))
        result = np.empty(len(slices))
        for i, (one, place) in enumerate(zip(slices, places, strict=True)):
            apart = np.abs(self.positions - place)
            apart[~others] = np.inf
            near = apart <= max(NEAR, apart.min())
            result[i] = np.sqrt(np.square(self.slices[near] - one).sum(axis=1).min())
        return result

    def to_json(self) -> dict:
        """Plain JSON values, which `storage.records.built` reads."""
        return {
            "positions": self.positions.round(4).tolist(),
            "slices": self.slices.round(4).tolist(),
            "patients": list(self.patients),
        }


def _positions(count: int) -> Float[np.ndarray, " z"]:
    return (np.arange(count) + 0.5) / count
