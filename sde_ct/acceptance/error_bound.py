"""The predicted MAE of a patient without a CT, and an upper bound on it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sde_ct.acceptance.conformal import tolerance
from sde_ct.acceptance.features import Features
from sde_ct.storage.records import NotNegative, Positive

LEVEL = 0.9  # share of patients whose error lies below the bound
# A CT with less bone than in patients of similar build has probably missed some bone.
MISSED = {"body": ("bone_missing",), "bone": ("bone_missing",)}


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
    from scipy.optimize import nnls  # takes a sixth of a second to import

    usual = (f"spread_{tissue}", "anatomy", "contrast", *MISSED.get(tissue, ()))
    names = tuple(n for n in usual if all(np.isfinite(one.get(n, np.nan)) for one in examples))
    x = np.array([[_log(one[name]) for name in names] for one in examples])
    y = np.log(np.maximum(true, 1e-6))
    # The intercept may be negative, so it is left out of the fit by centring.
    weights, _ = nnls(x - x.mean(axis=0), y - y.mean())
    raw = ErrorModel(names, tuple(map(float, weights)), float(y.mean() - x.mean(axis=0) @ weights))
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


def _log(value: float) -> float:
    return float(np.log(max(value, 1e-6)))
