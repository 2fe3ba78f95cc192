"""How often a network's draws choose bone where the MR tells a known probability of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import VOLUME, constants
from sde_ct.lab import comparison
from sde_ct.lab.comparison import Patient, Results, ambiguous_hu
from sde_ct.lab.comparison.outputs import report_of
from sde_ct.report.html.contents import Report
from sde_ct.storage.versions import versions
from sde_ct.synthesis import Synthesizer, Trained
from sde_ct.uncertainty.ambiguity import bone_like, decided
from sde_ct.uncertainty.reliability import REJECTED, Reliability, Votes, reliability, sentence

PRIORS = (0.1, 0.3, 0.5, 0.7, 0.9)
# As the table of the comparison calls them; others go by their own name.
NAMES = {"ddpm": "DDPM", "em": "EM", "pc": "PC", "ode": "ODE", "dpm_sde": "DPM++"}


def synthesize(
    trained: Trained,
    patients: Sequence[Patient],
    samplers: Sequence[str],
    *,
    draws: int,
    seed: int = 0,
    progress: Callable[[Sequence[Patient], str], Iterable[Patient]] = lambda few, name: few,
) -> Results:
    """{sampler: {patient: draws of one network}}; `progress` is told the sampler's name.

    Raises InputError where fewer than two priors are told by the patients' MR.
    """
    told = {p.prior for p in patients if p.prior is not None}
    if len(told) < 2:
        raise InputError(
            "Reliability needs phantoms whose MR tells several priors and the data has "
            f"{len(told)}: make the cohort with visible_priors."
        )
    results: Results = {}
    for name in samplers:
        draw = Synthesizer(trained, name)
        results[NAMES.get(name, name)] = {
            p.id: draw(p.mr, case=p.id, draws=draws, seed=seed, mask=p.mask)
            for p in progress(patients, name)
        }
    return results


def measure(
    results: Results, patients: Sequence[Patient], seen: Mapping[float, Votes] | None = None
) -> dict[str, Reliability]:
    """{sampler: its reliability over the patients' priors}.

    Every slice of every draw votes: a network that sees single slices draws them independently.
    Patients whose MR tells no prior are passed over.

    Args:
        seen: {prior: which training patients are bone-like}.
    """
    found = {}
    for name, by_patient in results.items():
        by_prior: dict[float, list[np.ndarray]] = {}
        for patient in patients:
            if patient.prior is not None and patient.ambiguous is not None:
                hu = ambiguous_hu(by_patient[patient.id], patient)
                by_prior.setdefault(patient.prior, []).append(hu)
        joined = {prior: np.concatenate(each) for prior, each in by_prior.items()}
        votes, decisions = ({p: f(x) for p, x in joined.items()} for f in (bone_like, decided))
        found[name] = reliability(votes, seen, decisions)
    return found


def report(
    results: Results, patients: Sequence[Patient], found: Mapping[str, Reliability], output: Path
) -> Report:
    """The page of these patients and draws; a sampler that fails is named first."""
    rows = comparison.rows_of(results, patients, VOLUME)
    judged = comparison.judgements_of(results, patients)
    made_by = {"Protocol": constants(VOLUME), "Versions": versions()}
    page = report_of(results, patients, rows, judged, output, made_by)
    fails = [sentence(name, one) for name, one in found.items() if one.p < REJECTED]
    title = "Draws where the probability of bone is known"
    return page._replace(title=title, warnings=[*fails, *page.warnings])


def record(found: Mapping[str, Reliability], about: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready: of every sampler the priors, outcomes and verdict figures."""
    return dict(about) | {
        "samplers": {
            name: {
                "priors": one.priors.tolist(),
                "outcomes": [o._asdict() for o in one.outcomes],
                "training_patients": [o._asdict() for o in one.seen] if one.seen else None,
                "p": one.p,
                "slope": one.slope,
                "bias": one.bias,
            }
            for name, one in found.items()
        }
    }
