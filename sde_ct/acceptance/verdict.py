"""The verdict on one patient, PASS or REVIEW, with its reasons, causes first."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sde_ct.acceptance.conformal import CONFIDENCE
from sde_ct.acceptance.features import CAUSES, FEATURES, GROUPS, LATER, MILD, REASONS, WORDS
from sde_ct.acceptance.reference import Reference

PASS, REVIEW = "PASS", "REVIEW"
USEFUL = 0.5  # with a smaller promised share of patients, no bound is given


class Reason(NamedTuple):
    """A reason for a review.

    `weight` is its largest score divided by the threshold; for path lengths, the width of the
    widest interval divided by its limit. A figure of the MR with a weight of at most 1 causes no
    review by itself. It is named beside other reasons if no patient of the fit had such a value,
    because it may be their cause. A fact, such as a header that no training patient had, has no
    weight and comes first. Tissue in the air around the body is a fact about the CT, which comes
    after the causes that the MR shows.
    """

    name: str  # a key of `features.REASONS`
    weight: float | None
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """The verdict on one patient.

    Attributes:
      reasons: facts first, then by `features.GROUPS`, and by weight within each. Reasons with a
        weight of at most 1 are placed as `features.MILD` and `LATER` say. A patient without
        a reason passes.
      weights: the weight of every reason that was measured, whether it is given or not.
      errors: by tissue the predicted MAE and its upper bound, HU; the bound is None if it would
        promise little.
      bound: a sentence on what the bound promises.
      promise: a sentence on what the threshold promises.
    """

    reasons: tuple[Reason, ...]
    weights: Mapping[str, float]
    errors: Mapping[str, tuple[float, float | None]]
    bound: str
    promise: str

    @property
    def word(self) -> str:
        """PASS or REVIEW."""
        return REVIEW if self.reasons else PASS

    @property
    def short(self) -> str:
        """PASS, or REVIEW with a fact that forbids the CT or, without one, the first reason."""
        if not self.reasons:
            return PASS
        facts = [one for one in self.reasons if one.weight is None and one.name in GROUPS[-1]]
        return f"{REVIEW}: {(facts or self.reasons)[0].name}"

    @property
    def sentence(self) -> str:
        """The verdict in a sentence for a terminal and the description of a series."""
        if not self.reasons:
            return f"{PASS}: no figure differs from the training by more than the threshold."
        return f"{REVIEW}: " + "; ".join(REASONS[one.name] for one in self.reasons) + "."

    def lines(self) -> list[str]:
        """The verdict, its reasons, the predicted errors and their bound, for a terminal."""
        return [
            self.sentence,
            *(f"  {number}. {one.sentence}" for number, one in enumerate(self.reasons, start=1)),
            *(
                f"  predicted MAE in the {WORDS[tissue]}: {mae:.0f} HU"
                + ("" if most is None else f", bound {most:.0f} HU")
                for tissue, (mae, most) in self.errors.items()
            ),
            *([f"  {self.bound}"] if self.bound else []),
        ]

    def to_json(self) -> dict[str, Any]:
        """The record for a sidecar, plain JSON values."""
        return {
            "verdict": self.word,
            "reasons": [one._asdict() for one in self.reasons],
            "weights": {name: round(weight, 3) for name, weight in self.weights.items()},
            "predicted_mae_hu": {t: round(mae, 1) for t, (mae, _) in self.errors.items()},
            "mae_bound_hu": {
                t: None if most is None else round(most, 1) for t, (_, most) in self.errors.items()
            },
            "bound": self.bound,
            "promise": self.promise,
        }


def judge(
    reference: Reference,
    features: Mapping[str, float],
    facts: Sequence[tuple[str, str]] = (),
    ranges: Sequence[tuple[str, float]] = (),
    limit: float | None = None,
) -> Verdict:
    """Judge a patient.

    Args:
      reference: of the network.
      features: from `Reference.features`.
      facts: reasons that need no threshold, each a key of `REASONS` and a sentence.
      ranges: the name of each path length, and the width of its interval in mm.
      limit: the widest interval of a path length that passes, mm; None judges no range.
    """
    reasons = [Reason(name, None, sentence) for name, sentence in facts]
    if features.get("not_finite", 0) > 0:
        reasons.append(Reason("draws", None, "The CT holds voxels that are not numbers."))
    scores = reference.scores(features)
    largest: dict[str, str] = {}  # by reason, the figure with the largest score
    for name in sorted(scores, key=lambda name: scores[name]):
        largest[FEATURES[name].reason] = name
    weights = {reason: scores[name] / reference.threshold for reason, name in largest.items()}
    facts_of = {one.name for one in reasons}
    for reason, name in largest.items():
        if weights[reason] > 1 and reason not in facts_of:
            sentence = _sentence(reference, name, features[name])
            reasons.append(Reason(reason, round(weights[reason], 2), sentence))
    if limit is not None and ranges:
        name, width = max(ranges, key=lambda one: one[1])
        weights["range"] = width / limit
        if width > limit:
            sentence = (
                f"The interval of the path length {name} is {width:.1f} mm wide; the limit is "
                f"{limit:g} mm."
            )
            reasons.append(Reason("range", round(width / limit, 2), sentence))
    if reasons:
        reasons += _causes(reference, features, largest, weights)
    reasons.sort(key=lambda one: _place(one, weights))
    errors = {
        tissue: (mae, mae * model.bound if model.promised >= USEFUL else None)
        for tissue, model in reference.errors.items()
        if np.isfinite(mae := features.get(f"error_{tissue}", np.nan))
    }
    return Verdict(tuple(reasons), weights, errors, _bound(reference), reference.promise)


def _causes(
    reference: Reference,
    features: Mapping[str, float],
    largest: Mapping[str, str],
    weights: Mapping[str, float],
) -> list[Reason]:
    """Figures of the MR that pass, but whose values no patient of the fit had."""
    causes = []
    for reason, name in largest.items():
        most, weight = reference.largest[name], weights[reason]
        if reason in CAUSES and most / reference.threshold < weight <= 1:
            sentence = _sentence(reference, name, features[name], most)
            causes.append(Reason(reason, round(weight, 2), sentence))
    return causes


def _place(reason: Reason, weights: Mapping[str, float]) -> tuple[float, float]:
    """The sorting key: facts, then each of `GROUPS` in turn, by falling weight within a group.

    A fact of the last group leads that group. `MILD` and `LATER` place weights of at most 1.
    """
    if reason.weight is None:
        return (_group(reason.name), -np.inf) if reason.name in GROUPS[-1] else (-1, 0.0)
    weight = weights[reason.name]  # not rounded
    if weight > 1:
        return _group(reason.name), -weight
    return _group(MILD.get(reason.name, LATER)) - 0.5, -weight


def _group(name: str) -> int:
    return next(i for i, names in enumerate(GROUPS) if name in names)


def _sentence(reference: Reference, name: str, value: float, most: float | None = None) -> str:
    """The measured value and the range that passes.

    Given a score `most`, the range is that of the fit's patients instead.
    """
    feature = FEATURES[name]
    centre, scale = reference.centre[name], reference.scale[name]
    reach = scale * (reference.threshold if most is None else most)
    ends = (centre - reach, centre + reach)
    low, high = (np.exp(end) if feature.log else end for end in ends)
    unit = f" {feature.unit}" if feature.unit else ""
    shown, least, highest = _distinct(value, low, high)
    allowed = f"at most {highest}" if feature.sides == "high" else f"{least} to {highest}"
    words = feature.words[0].upper() + feature.words[1:]
    those = "passes" if most is None else "in the patients of the fit"
    return f"{words}: {shown}{unit}; {allowed}{unit} {those}."


def _distinct(value: float, *ends: float) -> list[str]:
    """The numbers with three digits, or with as many as distinguish the value from the ends."""
    for digits in range(3, 10):
        shown, *others = (f"{number:.{digits}g}" for number in (value, *ends))
        if shown not in others:
            break
    return [shown, *others]


def _bound(reference: Reference) -> str:
    if not reference.errors:
        return ""
    given = [m.promised for m in reference.errors.values() if m.promised >= USEFUL]
    if not given:
        needed = math.ceil(math.log(1 - CONFIDENCE) / math.log(reference.level))
        return (
            f"No bound is given: the validation patients are too few, and {needed} give one for "
            f"{reference.level:.0%} of new patients."
        )
    promised = min(given)
    short = " (the validation patients are too few for more)" if promised < reference.level else ""
    return (
        f"With {CONFIDENCE:.0%} confidence, the MAE lies below its bound for at least "
        f"{promised:.0%} of new patients of the validation patients' kind{short}. Nothing is "
        "promised for a patient unlike the training."
    )
