"""Whether the shares of two possible outcomes among draws equal their known probabilities.

In a phantom's ambiguous region the CT is bone-like or air-like with a known probability p(bone |
MR). Where the MR shows this probability (`visible_priors` of the cohort), the share of bone-like
draws must follow it. The comparison is the reliability diagram of probability forecasts (Murphy &
Winkler, Appl. Stat. 26, 1977), except that here the probabilities are known and draws are tested.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sde_ct.errors import InputError

BONE_LIKE_ABOVE = 0.0  # HU, the middle between the outcomes, about -800 and 800
DECIDED_BY = 400.0  # HU from the middle; draws beyond are nearer to an outcome
REJECTED = 0.05  # if p is smaller, the draws do not follow the priors
# `sentence` names these reasons: a share of decided draws below MOSTLY, a slope that differs from 1
# by more than SLOPE_OFF, and a bias above BIAS_OFF.
MOSTLY, SLOPE_OFF, BIAS_OFF = 0.8, 0.15, 0.05

Votes = Bool[np.ndarray, " n"]  # for each draw, whether it is bone-like


class Outcomes(NamedTuple):
    """The share of bone-like draws, with its 95 % Wilson interval.

    `decided` is the share of draws nearer to an outcome than to the middle, if known. Draws of a
    region that was not learnt lie near the middle and are bone-like by chance. `within`, if known,
    is the number of patients with both outcomes among their draws, and `patients` the number of all
    patients. If draws only repeat a regression, outcomes differ only between patients.
    """

    bone_like: int
    draws: int
    share: float
    low: float
    high: float
    decided: float | None = None
    within: int | None = None
    patients: int | None = None

    @property
    def both(self) -> bool:
        """Whether any patient's draws show both outcomes; without `within`, all draws together."""
        return bool(0 < self.bone_like < self.draws if self.within is None else self.within)


def region_hu(
    draws: Float[np.ndarray, "m x y z"], region: Bool[np.ndarray, "x y z"]
) -> Float[np.ndarray, " m"]:
    """The mean HU of each draw over the ambiguous region."""
    region = np.asarray(region) > 0
    if region.shape != draws.shape[1:]:
        raise InputError(
            f"The ambiguous region has shape {region.shape} and the draws {draws.shape[1:]}: "
            "give both on one grid."
        )
    if not region.any():
        raise InputError("The ambiguous region is empty: evaluate slices that contain it.")
    return draws[:, region].mean(axis=1, dtype=np.float64)


def bone_like(hu: Float[np.ndarray, " n"]) -> Votes:
    """Whether each region's mean HU is bone-like rather than air-like."""
    return hu > BONE_LIKE_ABOVE


def decided(hu: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Whether each region's mean HU is nearer to an outcome than to the middle."""
    return np.abs(hu - BONE_LIKE_ABOVE) > DECIDED_BY


def outcomes(votes: Votes, decisions: Bool[np.ndarray, " n"] | None = None) -> Outcomes:
    """The outcomes of draws from `bone_like` and, if given, `decided` of each draw.

    Wilson's score interval (J. Am. Stat. Assoc. 22, 1927) stays inside [0, 1] and is accurate for
    few draws.
    """
    if len(votes) == 0:
        raise InputError("No draw is given for the ambiguous region: draw at least one.")
    count, draws = int(np.sum(votes)), len(votes)
    interval = stats.binomtest(count, draws).proportion_ci(0.95, method="wilson")
    share = None if decisions is None else float(np.mean(decisions))
    return Outcomes(count, draws, count / draws, float(interval.low), float(interval.high), share)


class Reliability(NamedTuple):
    """Shares of bone-like draws for each prior that the MR shows, in increasing order.

    Attributes:
        p: the p-value of a χ² test that draws follow their priors. The statistic is
            Σ (k - n q)² / (n q (1 - q)) over the priors q between 0 and 1; where draws differ from
            a prior of 0 or 1, p is 0.
        slope: of the shares over the priors, by least squares weighted by draws. Below 1 the draws
            distinguish the MRs too little, above 1 too much.
        bias: mean of share - prior over draws; above 0 there is too much bone.
        seen: the shares among the training patients, from which the network learnt.
    """

    priors: Float[np.ndarray, " k"]
    outcomes: tuple[Outcomes, ...]
    p: float
    slope: float
    bias: float
    seen: tuple[Outcomes, ...] | None = None


def reliability(
    votes: Mapping[float, Votes],
    seen: Mapping[float, Votes] | None = None,
    decisions: Mapping[float, Votes] | None = None,
) -> Reliability:
    """The reliability of one sampler's draws.

    Args:
        votes: {prior: whether each draw is bone-like}, over patients and slices. Draws must be
            independent of each other given their MR.
        seen: {prior: whether each training patient is bone-like}.
        decisions: {prior: whether each draw is decided}.

    Raises:
        InputError: fewer than two priors, one outside [0, 1] or without a draw, or a prior that
            is missing in `seen`.
    """
    priors = np.array(sorted(votes), np.float64)
    if len(priors) < 2 or priors[0] < 0 or priors[-1] > 1:
        raise InputError(f"Reliability needs two or more priors in [0, 1], not {priors.tolist()}.")
    if seen is not None and not set(votes) <= set(seen):
        raise InputError("Some priors have no training patient: give training patients for each.")
    points = tuple(outcomes(votes[q], decisions and decisions[q]) for q in priors)  # type: ignore[arg-type]
    count, bone = np.array([(o.draws, o.bone_like) for o in points]).T
    share = bone / count
    centred = priors - np.average(priors, weights=count)
    return Reliability(
        priors,
        points,
        _p_value(bone, count, priors),
        float(np.sum(count * centred * share) / np.sum(count * centred**2)),
        float(np.average(share - priors, weights=count)),
        tuple(outcomes(seen[q]) for q in priors) if seen else None,
    )


def _p_value(bone: np.ndarray, count: np.ndarray, prior: np.ndarray) -> float:
    """`Reliability.p`."""
    certain = (prior == 0) | (prior == 1)
    if np.any((bone != count * prior)[certain]):
        return 0.0
    k, n, q = (values[~certain] for values in (bone, count, prior))
    statistic = np.sum((k - n * q) ** 2 / (n * q * (1 - q)))
    return float(stats.chi2.sf(statistic, k.size)) if k.size else 1.0


def sentence(name: str, diagram: Reliability) -> str:
    """Whether a sampler's draws follow the priors and, if not, how they differ."""
    undecided = _undecided(diagram.outcomes)
    if diagram.p >= REJECTED:
        but = f", but {undecided}" if undecided else ""
        return f"{name}: bone-like as often as the MR allows (p = {diagram.p:.2f}){but}."
    off = [
        f"{o.share:.0%} [{o.low:.0%}, {o.high:.0%}] at {prior:.0%}"
        + (f" (training patients {diagram.seen[i].share:.0%})" if diagram.seen else "")
        for i, (prior, o) in enumerate(zip(diagram.priors, diagram.outcomes, strict=True))
        if not o.low <= prior <= o.high
    ]
    reasons = []
    if abs(diagram.slope - 1) > SLOPE_OFF:
        much = "little" if diagram.slope < 1 else "much"
        reasons.append(f"they distinguish the MRs too {much} (slope {diagram.slope:.2f})")
    if abs(diagram.bias) > BIAS_OFF:
        tissue = "bone" if diagram.bias > 0 else "air"
        reasons.append(f"{tissue} too often by {abs(diagram.bias):.0%}")
    reasons += [undecided] if undecided else []
    why = f"; {' and '.join(reasons)}" if reasons else ""
    how = ", ".join(off) or "too often or too rarely overall"
    return f"{name}: FAILS (p = {diagram.p:.1g}): bone-like {how}{why}."


def _undecided(points: tuple[Outcomes, ...]) -> str | None:
    if any(o.decided is None for o in points):
        return None
    share = np.average([o.decided for o in points], weights=[o.draws for o in points])
    if share >= MOSTLY:
        return None
    return f"only {share:.0%} of the draws are nearer to an outcome than to the middle"
