"""How often draws are bone-like where the MR shows a known probability of bone."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.config import Experiment, recipe
from sde_ct.data.prepared import Prepared
from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import VOLUME, constants
from sde_ct.evaluation.table import DISTILLED
from sde_ct.lab.comparison import Patient, Results, ambiguous_hu, judgements_of, rows_of
from sde_ct.lab.comparison.presentation import report_of
from sde_ct.lab.phantom.cohort import DEMO, prepared_cohort
from sde_ct.methods.samplers import SAMPLERS
from sde_ct.report.html.report_content import Report
from sde_ct.storage.versions import versions
from sde_ct.synthesis import Synthesizer, Trained
from sde_ct.training import loop
from sde_ct.uncertainty.reliability import (
    REJECTED,
    Reliability,
    Votes,
    bone_like,
    decided,
    reliability,
    sentence,
)

PRIORS = (0.1, 0.3, 0.5, 0.7, 0.9)
# With 500 training patients, the share of bone-like patients with a prior is near this prior.
PATIENTS = {"train": 500, "validation": 5, "test": 40}
STEPS = 20_000
# These put most of the training at the noise levels at which a draw becomes bone-like or air-like.
# The residual is scaled to unit variance, so its outcomes lie far apart and need higher levels.
DIRECT: dict[str, Any] = {"log_mean": -0.4}
RESIDUAL: dict[str, Any] = {"times": "uniform"}
NOISE_LEVELS = {"residual": RESIDUAL, "distil": RESIDUAL}
# Only the denoiser learns to draw clear outcomes, so it gets more updates than the regression.
DENOISER_SHARE = 0.6
SAMPLING: dict[str, Any] = {"em_steps": 100, "pc_steps": 50, "ode_rtol": 0.1, "ode_atol": 0.1}


def phantoms(output: Path, progress: Callable) -> Prepared:
    """Prepared phantoms whose MR shows the prior; phantoms that `output` already holds are kept."""
    return prepared_cohort(output, PATIENTS, visible_priors=PRIORS, progress=progress, **DEMO)


def experiment(recipes: Path, name: str) -> Experiment:
    """A recipe of the demo with more steps, and more of them at the noise levels that matter."""
    demo = recipe(recipes / f"{name}.py")
    training = dataclasses.replace(demo.training, steps=STEPS, validate_every=STEPS)
    diffusion = dataclasses.replace(demo.diffusion, **NOISE_LEVELS.get(name, DIRECT))
    sampling = dataclasses.replace(demo.sampling, **SAMPLING)
    residual = dataclasses.replace(demo.residual, denoiser_share=DENOISER_SHARE)
    return dataclasses.replace(
        demo, training=training, diffusion=diffusion, sampling=sampling, residual=residual
    )


def train(recipes: Path, name: str, prepared: Prepared, runs: Path) -> Path:
    """Train a recipe of the demo in a folder of `runs`, and return that folder.

    The student `distil` is trained after its teacher `residual`, with a tenth of the updates.
    """
    config, teacher = experiment(recipes, name), None
    if name == "distil":
        teacher = train(recipes, "residual", prepared, runs)
        steps = config.training.steps // 10
        short = dataclasses.replace(config.training, steps=steps, validate_every=steps)
        config = dataclasses.replace(config, training=short)
    loop.train(config, prepared, runs / name, init=teacher)
    return runs / name


def synthesize(
    trained: Trained,
    patients: Sequence[Patient],
    samplers: Sequence[str | None],
    *,
    draws: int,
    seed: int = 0,
    progress: Callable[[Sequence[Patient], str], Iterable[Patient]] = lambda few, name: few,
) -> Results:
    """Synthesize each patient with each sampler of one network: {sampler: {patient: draws}}.

    A distilled network has the sampler None. `progress` wraps the patients, and also gets the
    sampler's name. Raises InputError if the patients' MR shows fewer than two priors.
    """
    visible = {p.prior for p in patients if p.prior is not None}
    if len(visible) < 2:
        raise InputError(
            "Reliability needs phantoms whose MR shows several priors, and the data has "
            f"{len(visible)}: make the cohort with visible_priors."
        )
    results: Results = {}
    for name in samplers:
        draw = Synthesizer(trained, name)
        label = SAMPLERS[name].label if name else DISTILLED
        results[label] = {
            p.id: draw(p.mr, case=p.id, draws=draws, seed=seed, mask=p.mask)
            for p in progress(patients, label)
        }
    return results


def measure(
    results: Results, patients: Sequence[Patient], training: Mapping[float, Votes] | None = None
) -> dict[str, Reliability]:
    """{sampler: its reliability over the patients' priors}.

    Every slice of a draw is an outcome of its own, because the network draws slices independently.
    Patients whose MR shows no prior are ignored.

    Args:
        training: {prior: which training patients are bone-like}.
    """
    measured = {}
    for name, by_patient in results.items():
        by_prior: dict[float, list[np.ndarray]] = {}
        for patient in patients:
            if patient.prior is not None and patient.ambiguous is not None:
                hu = ambiguous_hu(by_patient[patient.id], patient)
                by_prior.setdefault(patient.prior, []).append(hu)
        joined = {prior: np.concatenate(each) for prior, each in by_prior.items()}
        votes, decisions = ({p: f(x) for p, x in joined.items()} for f in (bone_like, decided))
        measured[name] = reliability(votes, training, decisions)
    return measured


def report(
    results: Results, patients: Sequence[Patient], measured: Mapping[str, Reliability], output: Path
) -> Report:
    """The report of these patients and draws. Its first warnings name the samplers that fail."""
    judged = judgements_of(results, patients)
    rows = rows_of(results, patients, VOLUME, judged)
    made_by = {"Protocol": constants(VOLUME), "Versions": versions()}
    page = report_of(results, patients, rows, judged, output, made_by)
    fails = [sentence(name, one) for name, one in measured.items() if one.p < REJECTED]
    title = "Draws where the probability of bone is known"
    return page._replace(title=title, warnings=[*fails, *page.warnings])


def record(measured: Mapping[str, Reliability], about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `reliability.json`: `about`, and the fields of every sampler's reliability."""
    samplers = {
        name: {
            "priors": one.priors.tolist(),
            "outcomes": [o._asdict() for o in one.outcomes],
            "training_patients": [o._asdict() for o in one.seen] if one.seen else None,
            "p": one.p,
            "slope": one.slope,
            "bias": one.bias,
        }
        for name, one in measured.items()
    }
    return {**about, "samplers": samplers}
