"""Fit the reference of a network on its training and validation patients."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sde_ct.acceptance.anatomy import Atlas
from sde_ct.acceptance.conformal import threshold
from sde_ct.acceptance.error_bound import LEVEL, fit_errors
from sde_ct.acceptance.features import FEATURES, TISSUES
from sde_ct.acceptance.patient import Measured
from sde_ct.acceptance.reference import Reference
from sde_ct.errors import InputError

RATE = 0.05
FEWEST = 3  # training patients; fewer show no variation once one is left out


def fit(
    training: Sequence[Measured],
    altered: Sequence[Measured],
    validation: Sequence[Measured],
    *,
    rate: float = RATE,
    level: float = LEVEL,
    network: Mapping[str, Any] | None = None,
) -> Reference:
    """Fit the centre and scale of every figure, the predicted error, and the joint threshold.

    The training patients give the centre (their median) and the scale (their largest distance from
    the median). The anatomy, asymmetry and grey values of a training patient are compared only with
    those of the others. Altered copies of the MRs show how errors grow. The threshold is fitted to
    each validation patient's largest score over all figures, so the rate of false alarms is that of
    all reasons together.

    Args:
      training, altered: training patients with their own and with altered MRs, and their errors;
        an altered copy has the name of its patient.
      validation: patients that the network was not trained on, with their errors.
      rate: of false alarms.
      level: share of patients whose MAE lies below the bound.
      network: recorded as the origin.

    Raises:
      InputError: fewer than `FEWEST` training patients or no validation patient.
    """
    if len(training) < FEWEST or not validation:
        raise InputError(
            f"{len(training)} training and {len(validation)} validation patients are too few: give "
            f"at least {FEWEST} and 1."
        )
    patients = {"train": len(training), "validation": len(validation)}
    reference = replace(_unscaled(training, rate, level), patients=patients, network=network or {})
    own = [_without_himself(reference, one, training) for one in training]
    worse = [_without_himself(reference, one, training) for one in altered]
    new = [reference.features(one) for one in validation]
    errors = {}
    for tissue in TISSUES:
        taught = _known(tissue, own + worse, [*training, *altered])
        judged = _known(tissue, new, validation)
        if taught and judged:
            errors[tissue] = fit_errors(tissue, *taught, *judged, level)
    own, new = (
        [one | {f"error_{t}": m.predict(one) for t, m in errors.items()} for one in some]
        for some in (own, new)
    )
    centre, scale = _variation(own)
    reference = replace(reference, errors=errors, centre=centre, scale=scale)
    scores = [[reference.scores(one) for one in some] for some in (new, own)]
    largest = {
        name: max(1.0, *(one.get(name, 0.0) for some in scores for one in some)) for name in centre
    }
    worst = [[max(one.values()) for one in some] for some in scores]
    limit = threshold(worst[0], rate, worst[1])
    return replace(
        reference, largest=largest, threshold=max(limit.value, 1e-6), promise=limit.sentence
    )


def _unscaled(training: Sequence[Measured], rate: float, level: float) -> Reference:
    """The reference without error models, centres, scales and a threshold."""
    logs = [
        [np.log(max(p.values[n], 1e-6)) for n in ("body_volume", "bone_volume")] for p in training
    ]
    body, bone = np.transpose(logs)
    slope = float(np.polyfit(body, bone, 1)[0]) if np.ptp(body) > 0 else 1.0
    return Reference(
        patients={},
        grey_values=_grey_values(training),
        atlas=Atlas.of({one.name: one.flips[0] for one in training}),
        asymmetries={one.name: one.asymmetry.round(4).tolist() for one in training},
        build=(float(bone.mean() - slope * body.mean()), slope),
        errors={},
        centre={},
        scale={},
        largest={},
        threshold=1.0,
        rate=rate,
        level=level,
        promise="",
        network={},
    )


def _variation(own: Sequence[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The centre and the scale of each figure that at least `FEWEST` training patients have.

    The centre is the median. The scale is the largest distance from the median, or above it if only
    high values are suspicious, and at least `Feature.resolution`.
    """
    centre, scale = {}, {}
    for name, feature in FEATURES.items():
        known = (one.get(name, np.nan) for one in own)
        values = np.array([feature.scaled(value) for value in known if np.isfinite(value)])
        if len(values) >= FEWEST:
            centre[name] = float(np.median(values))
            off = values - centre[name]
            far = np.abs(off) if feature.sides == "both" else off
            scale[name] = max(float(far.max()), feature.resolution)
    return centre, scale


def _known(
    tissue: str, features: Sequence[dict[str, float]], patients: Sequence[Measured]
) -> tuple[list[dict[str, float]], list[float]] | None:
    """The figures and the errors in a tissue, of the patients who have it."""
    pairs = zip(features, patients, strict=True)
    known = [(one, p.errors[tissue]) for one, p in pairs if tissue in p.errors]
    return ([one for one, _ in known], [error for _, error in known]) if known else None


def _without_himself(
    reference: Reference, patient: Measured, training: Sequence[Measured]
) -> dict[str, float]:
    """The figures of a training patient.

    Only the anatomy, asymmetry and grey values of the other patients are compared with his.
    """
    others = [one for one in training if one.name != patient.name]
    reference = replace(reference, grey_values=_grey_values(others))
    return reference.features(patient, without=patient.name)


def _grey_values(patients: Sequence[Measured]) -> tuple[list[float], list[float]]:
    values = np.array([one.grey_values for one in patients])
    return values.mean(axis=0).tolist(), values.std(axis=0, ddof=1).tolist()
