"""Fit the acceptance of a network: synthesize its training and validation patients."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sde_ct.acceptance.altered import altered
from sde_ct.acceptance.fit import FEWEST, fit
from sde_ct.acceptance.patient import Measured, errors
from sde_ct.acceptance.reference import Reference
from sde_ct.data.prepared import Prepared, PreparedCase
from sde_ct.errors import InputError, first_of
from sde_ct.runtime.bars import say
from sde_ct.synthesis.acceptance import Measurer, air_facts, settings
from sde_ct.synthesis.synthesizer import Synthesizer
from sde_ct.synthesis.trained import Trained
from sde_ct.training.data import other_patients
from sde_ct.volumes.volume import Volume


def fit_acceptance(
    trained: Trained,
    prepared: Prepared,
    sampler: str | None,
    *,
    draws: int,
    seed: int = 0,
    rate: float,
    level: float,
    most: int = 40,
    progress: Callable[[Sequence[Any]], Any] = iter,
) -> Reference:
    """Synthesize patients of a prepared set, and fit the reference of the network on them.

    Args:
      trained: the network, with its number of evaluations.
      prepared: the data on which the network was trained.
      sampler, draws, seed: as in `Synthesizer`; the reference holds for this sampler and number of
        draws.
      rate: the rate of false alarms that the threshold allows.
      level: share of patients whose MAE lies below the bound.
      most: the largest number of training patients, which are chosen evenly from the list of all.
      progress: wraps the list of syntheses; each training patient is in it twice, once altered.

    Raises:
      InputError: the network was trained on other data, or there are too few patients.
    """
    training, validation = require_patients(trained, prepared)
    chosen = np.unique(np.linspace(0, len(training) - 1, min(most, len(training))).astype(int))
    training = [training[i] for i in chosen]
    synthesize, measure = Synthesizer(trained, sampler), Measurer(trained)

    doubtful: list[str] = []

    def measured(case: PreparedCase, mr: Volume) -> Measured:
        _, *further = (case.volume(name) for name in case.mrs)
        drawn = synthesize(mr, case=case.id, draws=draws, seed=seed, further=further)
        if air_facts(drawn):
            doubtful.append(case.id)
        ct, mask = case.volume("ct"), case.volume("mask")
        found = errors(drawn.mean.array, ct.array, mask.array)
        return measure(case.id, mr, drawn.mean, drawn.spread, drawn.draws, further, found)

    asked = [(kind, case) for kind in ("training", "altered") for case in training]
    asked += [("validation", case) for case in validation]
    done: dict[str, list[Measured]] = {"training": [], "altered": [], "validation": []}
    for kind, case in progress(asked):
        mr = case.volume("mr")
        if kind == "altered":
            mr = altered(mr, case.percentiles, len(done["altered"]))
        done[kind].append(measured(case, mr))
    if bad := {case.id for case in validation} & {*doubtful}:
        say(
            f"warning: the CTs of {len(bad)} of {len(validation)} validation patients show tissue "
            "in the air around the body, so patients will be sent to a review for it: use more "
            "network evaluations or another sampler, or train the network for longer.",
            sys.stderr,
        )
    used = settings(trained, sampler, draws)
    return fit(*done.values(), rate=rate, level=level, network=used)


def require_patients(
    trained: Trained, prepared: Prepared
) -> tuple[list[PreparedCase], list[PreparedCase]]:
    """The training and validation patients. Raises InputError as `fit_acceptance`."""
    require_data_of(trained, prepared, "validation")
    seen = set(trained.data["split"]["train"])
    training = [case for case in prepared.of("train") if case.id in seen]
    validation = list(prepared.of("validation"))
    if len(training) < FEWEST or not validation:
        raise InputError(
            f"{prepared.folder} has {len(training)} of the network's training patients and "
            f"{len(validation)} validation patients: at least {FEWEST} and 1 are needed."
        )
    return training, validation


def require_data_of(trained: Trained, prepared: Prepared, *unseen: str) -> None:
    """Raise InputError unless `prepared` can be the data on which a network was trained.

    `prepared` may hold further patients, and may lack some. `unseen` are the parts of its split
    that must hold none of the network's training patients.
    """
    if others := other_patients(trained.data, prepared):
        raise InputError(
            f"The MRs of {first_of(others)} in --data={prepared.folder} are not those that the "
            "network was trained on: give the data of its training."
        )
    seen = set(trained.data["split"]["train"])
    for part in unseen:
        if both := sorted(seen & set(prepared.split[part])):
            raise InputError(
                f"The network was trained on {', '.join(both)} of the {part} patients in "
                f"--data={prepared.folder}: give the data of its training."
            )
