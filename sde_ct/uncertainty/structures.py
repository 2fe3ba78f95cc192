"""Mean HU and cumulative volume histogram of a structure in every draw.

Voxels of one draw depend on one another, so the spread of a structure's mean cannot be computed
from the spreads of its voxels. Each draw gives one value of the mean or of the histogram, and the
spread is that of these values.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import moments, require_draws
from sde_ct.volumes.masks import CtVolume

Volumes = Float[np.ndarray, "m x y z"] | Sequence[Float[np.ndarray, "x y z"]]
Weights = Float[np.ndarray, "x y z"]  # share of each voxel that belongs to the structure, 0 to 1
LEVELS = np.arange(-1000.0, 2001.0, 10.0)  # HU


class StructureMean(NamedTuple):
    """The mean HU of one structure.

    Attributes:
        draws: in each of M draws, HU.
        ct: in the real CT, HU; None without one.
        voxels: volume of the structure in voxels, the sum of the mask.
    """

    draws: Float[np.ndarray, " m"]
    ct: float | None
    voxels: float

    @property
    def mean(self) -> float:
        """Mean over draws, HU."""
        return float(self.draws.mean())

    @property
    def spread(self) -> float:
        """Standard deviation over draws, HU. Raises InputError for fewer than 2 draws."""
        return float(np.sqrt(moments(self.draws)[1]))

    @property
    def error(self) -> float | None:
        """Mean over draws minus the real CT's, HU; None without a CT."""
        return None if self.ct is None else self.mean - self.ct


def structure_mean(draws: Volumes, mask: Weights, ct: CtVolume | None = None) -> StructureMean:
    """The mean HU of a structure in each draw: Σ w v / Σ w over voxels v with weights w.

    Args:
        draws: M >= 1 synthetic CTs, HU.
        mask: 0 or 1, or for voxels at the border their share inside the structure.
        ct: the real CT, HU.

    Raises:
        InputError: no draw, another grid, an empty mask, values of the mask outside [0, 1], or
            voxels inside it that are not finite.
    """
    inside, weights = _inside(draws, mask, ct)
    volumes = [*draws] if ct is None else [*draws, ct]
    means = [float(np.average(v[inside].astype(np.float64), weights=weights)) for v in volumes]
    real = None if ct is None else means.pop()
    return StructureMean(np.array(means), real, float(weights.sum()))


class VolumeHistogram(NamedTuple):
    """The shares of a structure's volume at or above each level of HU, falling as levels rise.

    Attributes:
        levels: HU.
        draws: the share at each level in each of M draws.
        ct: the share at each level in the real CT; None without one.
    """

    levels: Float[np.ndarray, " levels"]
    draws: Float[np.ndarray, "m levels"]
    ct: Float[np.ndarray, " levels"] | None

    @property
    def mean(self) -> Float[np.ndarray, " levels"]:
        """Mean share over draws."""
        return self.draws.mean(axis=0)

    @property
    def band(self) -> tuple[Float[np.ndarray, " levels"], Float[np.ndarray, " levels"]]:
        """The lowest and the highest share of the draws. Raises InputError for fewer than 2 draws.

        At each level the band of M calibrated draws holds the real share with a probability of
        at least (M - 1) / (M + 1): 9/11 for 10 draws.
        """
        require_draws(len(self.draws))
        return self.draws.min(axis=0), self.draws.max(axis=0)


def volume_histogram(
    draws: Volumes,
    mask: Weights,
    ct: CtVolume | None = None,
    *,
    levels: Float[np.ndarray, " levels"] = LEVELS,
) -> VolumeHistogram:
    """The cumulative histogram of HU in a structure, like a dose-volume histogram of dose.

    Arguments and errors are those of `structure_mean`. `levels` are finite HU in rising order;
    others raise InputError.
    """
    levels = np.asarray(levels, np.float64)
    if levels.ndim != 1 or not levels.size or not np.isfinite(levels).all():
        raise InputError("The levels of a histogram must be a list of finite HU.")
    if (np.diff(levels) <= 0).any():
        raise InputError("The levels of a histogram do not rise: sort them and remove equal ones.")
    inside, weights = _inside(draws, mask, ct)
    edges = np.append(levels, np.inf)

    def shares(volume: CtVolume) -> Float[np.ndarray, " levels"]:
        counts, _ = np.histogram(volume[inside].astype(np.float64), edges, weights=weights)
        return np.cumsum(counts[::-1])[::-1] / weights.sum()

    real = None if ct is None else shares(ct)
    return VolumeHistogram(levels, np.stack([shares(draw) for draw in draws]), real)


def _inside(
    draws: Volumes, mask: Weights, ct: CtVolume | None
) -> tuple[np.ndarray, Float[np.ndarray, " n"]]:
    """Which voxels have a weight above 0, and these weights in float64."""
    mask = np.asarray(mask)
    if not len(draws):
        raise InputError("There is no draw in which the structure could be measured: give one.")
    named = {f"draw {i}": draw for i, draw in enumerate(draws)}
    named |= {} if ct is None else {"reference CT": ct}
    for name, volume in named.items():
        if volume.shape != mask.shape:
            raise InputError(
                f"The {name} has shape {volume.shape} and the structure's mask {mask.shape}: "
                "resample the mask onto the grid of the CT."
            )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise InputError(
            "The structure's mask has values outside 0 to 1: give 1 inside, 0 outside, and the "
            "share inside for voxels at the border."
        )
    inside = mask > 0
    if not inside.any():
        raise InputError("The structure's mask is empty: give one that marks at least one voxel.")
    for name, volume in named.items():
        if not np.isfinite(volume[inside]).all():
            raise InputError(
                f"The {name} holds NaN or infinite voxels inside the structure: repair them or "
                "leave them out of the mask."
            )
    return inside, mask[inside].astype(np.float64)
