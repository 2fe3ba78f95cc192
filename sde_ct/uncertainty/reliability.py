"""Whether draws choose between two outcomes as often as the MR allows, over several probabilities.

In the phantom's ambiguous region p(bone | MR) is known, and where the MR tells it (`visible_priors`
of the cohort) one network must answer with several shares of bone-like draws: the reliability
diagram of probability forecasts (Murphy & Winkler, Appl. Stat. 26, 1977), whose forecasts are
known to be right and whose draws are on trial.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sde_ct.errors import InputError
from sde_ct.uncertainty.ambiguity import Outcomes, outcomes

REJECTED = 0.05  # p below: the draws do not follow the priors
MOSTLY = 0.8  # of draws: fewer that have decided for an outcome are named as a reason
SLOPE_OFF, BIAS_OFF = 0.15, 0.05  # from which a slope's or a mean's error is named as a reason

Votes = Bool[np.ndarray, " n"]  # whether each draw is bone-like


class Reliability(NamedTuple):
    """Shares of bone-like draws against the priors that the MR tells, by rising prior.

    Attributes:
        p: of shares at least as far off where every draw follows its prior (χ² of all points,
            Σ (k - n q)² / (n q (1 - q)) over the priors q between 0 and 1); 0 where a certain
            outcome was missed.
        slope: of the shares over the priors, least squares by draws: below 1 the draws tell the
            MRs apart too little, above 1 they are more decided than the MR allows.
        bias: mean of share - prior over draws: above 0 too often bone.
        seen: the shares among the training patients, all that the network could know; None where
            not given.
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
    """The diagram of one sampler's draws.

    Args:
        votes: {prior: of each draw in its region whether it is bone-like}; draws of several
            patients and slices together, each independent of the others given its MR.
        seen: {prior: of each training patient whether it is bone-like}.
        decisions: {prior: of each draw whether it is nearer to an outcome than to the middle}.

    Raises:
        InputError: fewer than two priors, one outside [0, 1] or without a draw, or other priors
            in `seen`.
    """
    priors = np.array(sorted(votes), np.float64)
    if len(priors) < 2 or priors[0] < 0 or priors[-1] > 1:
        raise InputError(f"Reliability needs two or more priors in [0, 1], not {priors.tolist()}.")
    if seen is not None and not set(votes) <= set(seen):
        raise InputError("Some priors of the draws are none of the training patients': give those.")
    found = tuple(outcomes(votes[p], decisions and decisions[p]) for p in priors)  # type: ignore[arg-type]
    share, count = (np.array([getattr(o, name) for o in found]) for name in ("share", "draws"))
    centred = priors - np.average(priors, weights=count)
    slope = np.sum(count * centred * share) / np.sum(count * centred**2)
    return Reliability(
        priors,
        found,
        _chance(found, priors),
        float(slope),
        float(np.average(share - priors, weights=count)),
        tuple(outcomes(seen[prior]) for prior in priors) if seen else None,
    )


def sentence(name: str, found: Reliability) -> str:
    """Whether a sampler's draws follow the priors and, where not, how they differ."""
    undecided = _undecided(found)
    if found.p >= REJECTED:
        but = f", but {undecided}" if undecided else ""
        return f"{name}: bone-like as often as the MR allows (p = {found.p:.2f}){but}."
    off = [
        f"{o.share:.0%} [{o.low:.0%}, {o.high:.0%}] at {prior:.0%}"
        + (f" (training patients {found.seen[i].share:.0%})" if found.seen else "")
        for i, (prior, o) in enumerate(zip(found.priors, found.outcomes, strict=True))
        if not o.low <= prior <= o.high
    ]
    reasons = []
    if abs(found.slope - 1) > SLOPE_OFF:
        less = "tell the MRs apart too little" if found.slope < 1 else "are too decided"
        reasons.append(f"they {less} (slope {found.slope:.2f})")
    if abs(found.bias) > BIAS_OFF:
        reasons.append(f"{'bone' if found.bias > 0 else 'air'} too often by {abs(found.bias):.0%}")
    if undecided:
        reasons.append(undecided)
    why = f"; {' and '.join(reasons)}" if reasons else ""
    return f"{name}: FAILS (p = {found.p:.1g}): bone-like {', '.join(off) or 'off overall'}{why}."


def _undecided(found: Reliability) -> str | None:
    if any(o.decided is None for o in found.outcomes):
        return None
    draws = sum(o.draws for o in found.outcomes)
    made = sum(o.decided * o.draws for o in found.outcomes) / draws  # type: ignore[misc, operator]
    if made >= MOSTLY:
        return None
    return f"only {made:.0%} of the draws are nearer to an outcome than to the middle"


def _chance(found: tuple[Outcomes, ...], expected: Float[np.ndarray, " k"]) -> float:
    statistic, degrees = 0.0, 0
    for o, q in zip(found, expected, strict=True):
        if q in (0, 1):
            if o.share != q:
                return 0.0
        else:
            statistic += (o.bone_like - o.draws * q) ** 2 / (o.draws * q * (1 - q))
            degrees += 1
    return float(stats.chi2.sf(statistic, degrees)) if degrees else 1.0
