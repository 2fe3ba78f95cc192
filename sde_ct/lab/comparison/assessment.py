"""Scores of the synthetic CTs: rows of the table, judgements of draws, and ambiguous regions."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import DRAWN, Row
from sde_ct.lab.comparison.patients import Patient
from sde_ct.lab.comparison.synthesis import Results
from sde_ct.synthesis import SyntheticCT
from sde_ct.uncertainty.judgement import Judgements, judge, over_patients
from sde_ct.uncertainty.reliability import Outcomes, bone_like, decided, outcomes, region_hu


def rows_of(
    results: Results,
    patients: Sequence[Patient],
    protocol: Protocol,
    judgements: Judgements,
) -> list[Row]:
    """A row of the first draw for each method and patient, and one of the mean for samplers."""
    singles, averages = [], []
    for name, by_patient in results.items():
        for patient in patients:
            result = by_patient[patient.id]
            truth, mask = patient.ct.array, patient.mask.array > 0
            cost = {"nfe": result.evaluations, "seconds": result.seconds}
            single = evaluate_case(protocol, truth, result.draws[0].array, mask)
            singles.append(Row(name, patient.id, {**single, **cost}))
            if name in DRAWN:
                average = evaluate_case(protocol, truth, result.mean.array, mask)
                total = {key: len(result.draws) * value for key, value in cost.items()}
                judged = judgements[f"{name}-M"].patients[patient.id].figures
                averages.append(Row(f"{name}-M", patient.id, {**average, **total, **judged}))
    return singles + averages


def judgements_of(results: Results, patients: Sequence[Patient]) -> Judgements:
    """{"SAMPLER-M": the judgement of its draws} for every sampler."""
    return {
        f"{name}-M": over_patients(
            {p.id: judge(stacked(by_patient[p.id]), p.ct.array, p.mask.array) for p in patients}
        )
        for name, by_patient in results.items()
        if name in DRAWN
    }


def ambiguity_of(results: Results, patients: Sequence[Patient]) -> dict[str, Outcomes]:
    """{sampler: the outcomes of its draws in the ambiguous regions}; empty if there are none."""
    known = [patient for patient in patients if patient.ambiguous is not None]
    by_sampler = {}
    for name in DRAWN if known else ():
        each = [ambiguous_hu(results[name][patient.id], patient) for patient in known]
        hu, within = np.concatenate(each), [outcomes(bone_like(one)).both for one in each]
        pooled = outcomes(bone_like(hu), decided(hu))
        by_sampler[name] = pooled._replace(within=sum(within), patients=len(within))
    return by_sampler


def ambiguous_hu(ct: SyntheticCT, patient: Patient) -> Float[np.ndarray, " n"]:
    """Mean HU over the ambiguous region, for every draw and every slice that shows the region.

    Slices are drawn independently, so each slice of a draw is an outcome of its own.
    """
    draws, region = stacked(ct), patient.ambiguous.array > 0  # type: ignore[union-attr]
    held = np.flatnonzero(region.any(axis=(0, 1)))
    return np.concatenate([region_hu(draws[..., z : z + 1], region[..., z : z + 1]) for z in held])


def stacked(ct: SyntheticCT) -> Float[np.ndarray, "m x y z"]:
    """The draws in one array, HU."""
    return np.stack([draw.array for draw in ct.draws])
