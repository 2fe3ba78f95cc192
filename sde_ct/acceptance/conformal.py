"""Thresholds for a stated rate of false alarms, and the rates that they promise."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

CONFIDENCE = 0.9  # probability that a bound keeps its promise


class Threshold(NamedTuple):
    """A limit that a new score of the same kind exceeds at a known rate."""

    value: float
    promised: float  # highest rate, on average over sets of fitted patients
    sentence: str


def tolerance(
    values: Sequence[float], level: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """An upper bound on a share `level` of new values, and the share that is promised.

    The share of new values below the k-th smallest of K values has the distribution
    Beta(k, K + 1 - k) over sets of K values. The smallest k is taken for which this share is at
    least `level` with a probability of `confidence` (Vovk, ACML 2012). If the values are too few,
    the bound is their largest, and the promised share is smaller than `level`.
    """
    from scipy import stats  # takes half a second to import

    known = sorted(values)
    count = len(known)
    for k in range(1, count + 1):
        if stats.beta.sf(level, k, count + 1 - k) >= confidence:
            return known[k - 1], level
    return known[-1], float(stats.beta.ppf(1 - confidence, count, 1))


def threshold(scores: Sequence[float], rate: float, others: Sequence[float] = ()) -> Threshold:
    """The split-conformal threshold of a score (Lei et al., J. Am. Stat. Assoc. 113, 2018).

    If a new patient is exchangeable with the K fitted ones, his score exceeds the k-th smallest of
    theirs, k = ⌈(K + 1)(1 - rate)⌉, with a probability of at most `rate`. If k exceeds K, the
    patients are too few. Then the scores of `others`, which promise nothing, are added. The
    threshold is at least the largest fitted score, which is exceeded with a probability of at most
    1 / (K + 1).

    Args:
      scores: of at least one patient; what the scores depend on was fitted without them.
      rate: of false alarms.
      others: scores of other patients, such as those of the training.
    """
    from scipy import stats  # takes half a second to import

    known = sorted(scores)
    count, k = len(known), ceil((len(known) + 1) * (1 - rate) - 1e-9)
    plural = "s" * (count != 1)
    if k <= count:
        # The rate of one fit has a beta distribution, see Vovk, ACML 2012.
        low, high = (1 - stats.beta.ppf(p, k, count + 1 - k) for p in (0.95, 0.05))
        return Threshold(
            known[k - 1],
            rate,
            f"With {count} validation patient{plural}, at most {rate:.0%} of new patients of their "
            "kind exceed the threshold, on average over such fits; the rate of this one fit lies "
            f"between {low:.1%} and {high:.1%} with 90 % probability.",
        )
    pooled = sorted([*known, *others])
    place = min(ceil((len(pooled) + 1) * (1 - rate) - 1e-9), len(pooled))
    value = max(known[-1], pooled[place - 1])
    return Threshold(
        value,
        1 / (count + 1),
        f"{count} validation patient{plural} cannot promise a rate of {rate:.0%}: of new patients "
        f"of their kind, up to {1 / (count + 1):.0%} may exceed the threshold. The threshold "
        "also depends on the training patients' scores, which promise nothing, because the network "
        f"has seen them. At least {ceil(1 / rate) - 1} validation patients are needed.",
    )
