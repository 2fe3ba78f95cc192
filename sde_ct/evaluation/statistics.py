"""Paired comparisons between methods, with the patient as the unit."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from sde_ct.errors import InputError


class Comparison(NamedTuple):
    """The comparison of two methods on the same patients."""

    first: str
    second: str
    median_difference: float  # median of first - second over patients; NaN without patients
    p: float  # p-value of Wilcoxon's signed-rank test, two-sided
    p_holm: float  # p-value, corrected for all comparisons that are made together
    n: int  # number of patients with finite figures of both methods


def compare(figures: Mapping[str, Sequence[float | None]]) -> list[Comparison]:
    """Compare every pair of methods by Wilcoxon's signed-rank test with Holm's correction.

    A pair leaves out patients without finite figures of both methods, and its test leaves out
    equal figures (Wilcoxon, Biometrics Bull. 1, 1945). If there is no difference, p is 1.

    Args:
        figures: {method: one figure per patient}, patients in the same order.

    Raises:
        InputError: the methods have different numbers of patients.
    """
    if len({len(values) for values in figures.values()}) > 1:
        counts = ", ".join(f"{name} {len(values)}" for name, values in figures.items())
        raise InputError(
            f"Methods were evaluated on different numbers of patients ({counts}): give every "
            "method the same patients."
        )
    columns = {name: np.array(values, np.float64) for name, values in figures.items()}
    differences = {}
    for first, second in combinations(columns, 2):
        both = np.isfinite(columns[first]) & np.isfinite(columns[second])
        differences[first, second] = columns[first][both] - columns[second][both]
    p = [_wilcoxon(d) for d in differences.values()]
    return [
        Comparison(*names, float(np.median(d)) if d.size else float("nan"), one, corrected, d.size)
        for (names, d), one, corrected in zip(differences.items(), p, holm(p), strict=True)
    ]


def _wilcoxon(differences: Float[np.ndarray, " patients"]) -> float:
    moved = differences[differences != 0]
    return float(stats.wilcoxon(moved).pvalue) if moved.size else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests (Holm, Scand. J. Stat. 6, 1979); keep their order.

    The k-th smallest of m values is multiplied by m - k + 1, raised to the largest corrected value
    of the smaller ones, and limited to 1.
    """
    order = np.argsort(p, kind="stable")
    raised = np.array(p, np.float64)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1)
    return corrected.tolist()
