"""Which of two known outcomes the draws choose where the MR cannot tell them apart."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sde_ct.errors import InputError

BONE_LIKE_ABOVE = 0.0  # HU: half-way, roughly, between air (-1000) and dense bone (above 700)


class Outcomes(NamedTuple):
    """How often draws are bone-like, with the 95 % Wilson interval of that share."""

    bone_like: int
    draws: int
    share: float
    low: float
    high: float

    @property
    def both(self) -> bool:
        """Whether the two outcomes appear among the draws."""
        return 0 < self.bone_like < self.draws


def bone_like_draws(
    draws: Float[np.ndarray, "m x y z"], region: Bool[np.ndarray, "x y z"]
) -> Bool[np.ndarray, " m"]:
    """Per draw, whether the mean HU over the ambiguous region lies above `BONE_LIKE_ABOVE`."""
    region = np.asarray(region) > 0
    if region.shape != draws.shape[1:]:
        raise InputError(
            f"The ambiguous region has shape {region.shape} and the draws {draws.shape[1:]}: "
            "give both on one grid."
        )
    if not region.any():
        raise InputError("The ambiguous region is empty: evaluate slices that contain it.")
    return draws[:, region].mean(axis=1, dtype=np.float64) > BONE_LIKE_ABOVE


def outcomes(bone_like: Bool[np.ndarray, " n"]) -> Outcomes:
    """The share of bone-like draws, over the draws of one patient or, concatenated, of several.

    The interval is Wilson's score interval (J. Am. Stat. Assoc. 22, 1927), which stays inside
    [0, 1] and is right for few draws.
    """
    if len(bone_like) == 0:
        raise InputError("No draw is given for the ambiguous region: draw at least one.")
    count, draws = int(np.sum(bone_like)), len(bone_like)
    interval = stats.binomtest(count, draws).proportion_ci(0.95, method="wilson")
    return Outcomes(count, draws, count / draws, float(interval.low), float(interval.high))
