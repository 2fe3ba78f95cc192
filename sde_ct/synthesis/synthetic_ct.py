"""Draws of one patient's CT, their mean and their spread, on the MR's grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.data.inputs import NetworkInput
from sde_ct.uncertainty.draws import AirFigures, collapse_warning, decompose, moments, worst
from sde_ct.volumes.slice_grid import from_slices
from sde_ct.volumes.volume import Volume


@dataclass(frozen=True)
class SyntheticCT:
    """Draws of one patient's CT, in HU on the MR's grid, and their cost."""

    draws: tuple[Volume, ...]
    mean: Volume
    spread: Volume | None  # standard deviation over draws, HU; None for a single draw
    evaluations: float  # mean network evaluations per slice and draw
    seconds: float  # seconds per slice and draw, without compilation
    slices: int
    unseen: tuple[str, ...] = ()  # sentences on how the MR differs from those of the training
    collapsed: str | None = None  # a warning that the draws are nearly equal
    air: AirFigures | None = None  # figures of air beside the body in the draws
    # Standard deviations in HU, only for several networks, see `combine`.
    within: Volume | None = None
    between: Volume | None = None
    # Bounds in HU, only with calibrated intervals, see `correction.apply`.
    lower: Volume | None = None
    upper: Volume | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that a reader must know before trusting the voxels."""
        failed = self.air.warning if self.air else None
        return (*self.unseen, *filter(None, [failed, self.collapsed]))


class Drawn(NamedTuple):
    """Draws of one network as axial slices, not yet on the MR's grid."""

    hu: Float[np.ndarray, "m z h w"]
    given: NetworkInput
    evaluations: float  # mean network evaluations per slice and draw
    seconds: float  # seconds per slice and draw, without compilation
    unseen: tuple[str, ...]  # sentences on how the MR differs from those of the training
    air: AirFigures | None = None  # figures of air beside the body in the draws


def combine(networks: Sequence[Drawn], air: float) -> SyntheticCT:
    """The draws of one or more networks on the MR's grid, with their mean and spread.

    Mean and spread are computed after the interpolation to the MR's grid, which blurs differences
    between draws. The squared spread of several networks is the sum of `within`², the ambiguity
    that each network leaves, and `between`², the disagreement of the networks. Then each estimate
    below 0 is set to 0. Networks that draw once each, such as CNNs, have no `within`.

    Args:
      networks: the draws of each network, in equal numbers and of one MR.
      air: HU of voxels that no slice reaches.
    """
    slices, given = [draw for one in networks for draw in one.hu], networks[0].given
    draws = tuple(from_slices(draw, given.grid, fill=air) for draw in slices)
    ct = SyntheticCT(
        draws=draws,
        mean=draws[0],
        spread=None,
        evaluations=float(np.mean([one.evaluations for one in networks])),
        seconds=float(np.mean([one.seconds for one in networks])),
        slices=len(given.mr),
        unseen=tuple(dict.fromkeys(text for one in networks for text in one.unseen)),
        air=worst([one.air for one in networks]),
    )
    if len(draws) == 1:
        return ct

    def deviation(variance: np.ndarray) -> Volume:
        return draws[0].with_array(np.sqrt(np.maximum(variance, 0)).astype(np.float32))

    arrays = [draw.array for draw in draws]
    mean, spread = (np.empty(arrays[0].shape, np.float32) for _ in range(2))
    for z in range(mean.shape[2]):  # float64 of whole volumes would take a gigabyte
        mean[..., z], variance = moments([array[..., z] for array in arrays])
        spread[..., z] = np.sqrt(variance)
    ct = replace(
        ct,
        mean=draws[0].with_array(mean),
        spread=draws[0].with_array(spread),
        collapsed=collapse_warning(_mean_spread(slices, given.mask > 0), len(draws)),
    )
    if len(networks) == 1:
        return ct
    each = len(networks[0].hu)
    if each == 1:
        return replace(ct, between=ct.spread)
    parts = decompose([arrays[first : first + each] for first in range(0, len(arrays), each)])
    return replace(
        ct,
        spread=deviation(parts.within + parts.between),
        within=deviation(parts.within),
        between=deviation(parts.between),
    )


def _mean_spread(
    draws: Sequence[Float[np.ndarray, "z h w"]], where: Bool[np.ndarray, "z h w"]
) -> float:
    """The mean standard deviation of the draws in a region, HU; NaN if it is empty."""
    total = 0.0
    for z, inside in enumerate(where):
        total += float(np.sqrt(moments([draw[z][inside] for draw in draws])[1]).sum())
    return total / where.sum() if where.any() else float("nan")
