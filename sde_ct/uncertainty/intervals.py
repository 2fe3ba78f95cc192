"""Confidence intervals over patients, because voxels and slices of a patient are correlated."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError

LEVEL = 0.95
RESAMPLES = 9999
SEED = 0
# The smallest two-sided p of a signed-rank test is 2 / 2^n: 0.063 for 5 patients, 0.031 for 6.
ENOUGH_PATIENTS = 6


class Interval(NamedTuple):
    """Bounds of a confidence interval; NaN for a single patient."""

    low: float
    high: float


def bootstrap_interval(values: Float[np.ndarray, " patients"] | Sequence[float]) -> Interval:
    """The `LEVEL` confidence interval of the mean over patients.

    It is the bias-corrected and accelerated bootstrap (Efron, J. Am. Stat. Assoc. 82, 1987) with
    `RESAMPLES` resamples of patients and a fixed seed, so the same values give the same bounds.

    Raises:
        InputError: there is no value, or one is not finite.
    """
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or x.size == 0 or not np.isfinite(x).all():
        raise InputError("An interval over patients needs one finite value from each patient.")
    if x.size == 1:
        return Interval(float("nan"), float("nan"))
    if np.ptp(x) == 0:  # all resamples are equal, and the acceleration would be 0 / 0
        return Interval(float(x[0]), float(x[0]))
    from scipy import stats  # takes half a second to import

    bounds = stats.bootstrap(
        (x,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval  # fmt: skip
    return Interval(float(bounds.low), float(bounds.high))


def caveat(patients: int, *, paired: bool = True) -> str | None:
    """The caveat for results on fewer than `ENOUGH_PATIENTS`, else None.

    `paired`: whether the results compare methods on the same patients.
    """
    if patients >= ENOUGH_PATIENTS:
        return None
    if patients == 1 and not paired:
        return (
            "1 patient: there are no intervals; read the figures as a description of this patient."
        )
    test = "no paired comparison can reach p < 0.05 and " if paired else ""
    return (
        f"{patients} patient{'s' if patients != 1 else ''}: with fewer than {ENOUGH_PATIENTS} "
        f"{test}the intervals over patients are too narrow; read the "
        f"{'differences' if paired else 'figures'} as a description of these patients."
    )
