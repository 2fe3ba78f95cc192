"""The predicted MAE of a patient without a CT, and an upper bound on it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.acceptance.conformal import tolerance
from sde_ct.acceptance.features import Features
from sde_ct.storage.records import NotNegative, Positive

LEVEL = 0.9  # share of patients whose error lies below the bound
# Examples with more than this many times the largest error of a validation patient are left out,
# except the half with the smallest errors.
# Strong alterations of an MR would otherwise set the weights, and patients to be judged err less.
FAR = 1.5
# The figures of each fit; the weights are the mean over the fits of a tissue. A CT with less bone
# than in patients of similar build has probably missed some bone, and a network that is unsure of
# bone draws it with lower HU. Another scanner changes anatomy and contrast more than it changes the
# error in bone, so these figures share the weight with those of the bone itself.
FITS: dict[str, tuple[tuple[str, ...], ...]] = {
    "body": (("spread_body", "anatomy", "contrast", "bone_missing"),),
    "soft": (("spread_soft", "anatomy", "contrast"),),
    "bone": (
        ("spread_bone", "anatomy", "contrast", "bone_missing"),
        ("spread_bone", "bone_faint"),
    ),
}


class ErrorModel(NamedTuple):
    """log MAE = intercept + Σ weight · log figure, with weights of at least 0.

    A larger spread, less bone, or figures that are less like those of the training can therefore
    only raise the predicted error.
    """

    names: tuple[str, ...]  # of the figures
    weights: tuple[NotNegative, ...]
    intercept: float
    bound: Positive = 1.0  # factor from the predicted MAE to its upper bound
    promised: NotNegative = 0.0  # share of new patients for whom the bound holds

    def predict(self, values: Features) -> float:
        """The predicted MAE, HU; NaN where a figure is missing."""
        logs = np.array([_log(values.get(name, np.nan)) for name in self.names])
        return float(np.exp(self.intercept + logs @ np.array(self.weights)))


def fit_errors(
    tissue: str,
    examples: Sequence[Features],
    true: Sequence[float],
    validation: Sequence[Features],
    validation_true: Sequence[float],
    level: float = LEVEL,
) -> ErrorModel:
    """Fit the weights on examples, and the intercept and the bound on validation patients.

    Examples are training patients with their own MRs and with altered ones, on which the network
    errs more. The network has seen these patients, so only the validation patients set the
    intercept (by their median) and the bound (split-conformal, see `conformal.tolerance`).
    """
    # At least half of the examples stay, even where the validation patients err less.
    usual = np.asarray(true) <= max(FAR * np.max(validation_true), np.median(true))
    examples = [one for one, near in zip(examples, usual, strict=True) if near]
    y = np.log(np.maximum(np.asarray(true)[usual], 1e-6))
    weights: dict[str, float] = {}
    for figures in FITS[tissue]:
        for name, weight in _weights(figures, examples, y).items():
            weights[name] = weights.get(name, 0.0) + weight / len(FITS[tissue])
    raw = ErrorModel(tuple(weights), tuple(weights.values()), 0.0)
    centre = float(np.mean([np.log(raw.predict(one)) for one in examples]))
    raw = raw._replace(intercept=float(y.mean()) - centre)
    off = [
        float(np.log(max(mae, 1e-6) / raw.predict(one)))
        for one, mae in zip(validation, validation_true, strict=True)
        if np.isfinite(raw.predict(one))
    ]
    if not off:
        return raw
    shift, (limit, promised) = float(np.median(off)), tolerance(off, level)
    return raw._replace(
        intercept=raw.intercept + shift,
        bound=float(np.exp(limit - shift)),
        promised=promised,
    )


def _weights(
    figures: Sequence[str], examples: Sequence[Features], y: Float[np.ndarray, " n"]
) -> dict[str, float]:
    """The weights, of at least 0, with which these figures fit the log MAE y best.

    A figure that any example lacks gets no weight.
    """
    from scipy.optimize import nnls  # takes a sixth of a second to import

    names = [n for n in figures if all(np.isfinite(one.get(n, np.nan)) for one in examples)]
    if not names:
        return {}
    x = np.array([[_log(one[name]) for name in names] for one in examples])
    # The intercept may be negative, so it is left out of the fit by centring.
    weights, _ = nnls(x - x.mean(axis=0), y - y.mean())
    return dict(zip(names, map(float, weights), strict=True))


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-6)))
