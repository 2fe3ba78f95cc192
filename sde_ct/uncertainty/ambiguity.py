"""Which of two known outcomes the draws choose where the MR cannot tell them apart."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sde_ct.errors import InputError

BONE_LIKE_ABOVE = 0.0  # HU: half-way, roughly, between air (-1000) and dense bone (above 700)
DECIDED_BY = 400.0  # HU from there: nearer to an outcome, about ± 800, than to the middle


class Outcomes(NamedTuple):
    """How often draws are bone-like, with the 95 % Wilson interval of that share.

    `decided` is the share of draws that are nearer to one of the outcomes than to their middle:
    draws of an unlearnt region lie about the middle and are bone-like by chance.
    """

    bone_like: int
    draws: int
    share: float
    low: float
    high: float
    decided: float | None = None  # None: not given

    @property
    def both(self) -> bool:
        """Whether the two outcomes appear among the draws."""
        return 0 < self.bone_like < self.draws


def region_hu(
    draws: Float[np.ndarray, "m x y z"], region: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, " m"]:
    """Per draw, the mean HU over the ambiguous region."""
    region = np.asarray(region) > 0
    if region.shape != draws.shape[1:]:
        raise InputError(
            f"The ambiguous region has shape {region.shape} and the draws {draws.shape[1:]}: "
            "give both on one grid."
        )
    if not region.any():
        raise InputError("The ambiguous region is empty: evaluate slices that contain it.")
    return draws[:, region].mean(axis=1, dtype=np.float64)


def bone_like(hu: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each region's mean HU is that of bone rather than of air."""
    return hu > BONE_LIKE_ABOVE


def decided(hu: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each region's mean HU is nearer to an outcome than to their middle."""
    return np.abs(hu - BONE_LIKE_ABOVE) > DECIDED_BY


def outcomes(
    votes: Bool[np.ndarray, " n"], decisions: Bool[np.ndarray, " n"] | None = None
) -> Outcomes:
    """The share of bone-like draws, over the draws of one patient or, concatenated, of several.

    Args:
        votes: of every draw, whether it is `bone_like`.
        decisions: of every draw, whether it is `decided`.

    The interval is Wilson's score interval (J. Am. Stat. Assoc. 22, 1927), which stays inside
    [0, 1] and is right for few draws.
    """
    if len(votes) == 0:
        raise InputError("No draw is given for the ambiguous region: draw at least one.")
    count, draws = int(np.sum(votes)), len(votes)
    interval = stats.binomtest(count, draws).proportion_ci(0.95, method="wilson")
    share = None if decisions is None else float(np.mean(decisions))
    return Outcomes(count, draws, count / draws, float(interval.low), float(interval.high), share)
