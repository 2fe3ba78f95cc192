"""How often a network's draws choose bone where the MR tells a known probability of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sde_ct.comparison import Patient, ambiguous_hu
from sde_ct.errors import InputError
from sde_ct.evaluation.ambiguity import bone_like, decided
from sde_ct.evaluation.reliability import Reliability, Votes, reliability
from sde_ct.synthesis import Synthesizer, Trained

PRIORS = (0.1, 0.3, 0.5, 0.7, 0.9)


def measure(
    trained: Trained,
    patients: Sequence[Patient],
    samplers: Sequence[str],
    *,
    draws: int,
    seed: int = 0,
    seen: Mapping[float, Votes] | None = None,
    progress: Callable[[Sequence[Patient], str], Iterable[Patient]] = lambda few, name: few,
) -> dict[str, Reliability]:
    """{sampler: its reliability over the patients' priors}.

    Every slice of every draw votes: a network that sees single slices draws them independently.

    Args:
        patients: held out, of a phantom cohort with `visible_priors`; others are passed over.
        seen: {prior: which training patients are bone-like}.
        progress: wraps the patients; its second argument names the sampler.

    Raises:
        InputError: fewer than two priors among the patients, or what `Synthesizer` refuses.
    """
    told = [p for p in patients if p.prior is not None and p.ambiguous is not None]
    if len({p.prior for p in told}) < 2:
        raise InputError(
            "Reliability needs phantoms whose MR tells several priors and the data has "
            f"{len({p.prior for p in told})}: make the cohort with visible_priors."
        )
    found = {}
    for name in samplers:
        synthesize = Synthesizer(trained, name)
        by_prior: dict[float, list[np.ndarray]] = {}
        for patient in progress(told, name):
            ct = synthesize(patient.mr, case=patient.id, draws=draws, seed=seed, mask=patient.mask)
            by_prior.setdefault(patient.prior, []).append(ambiguous_hu(ct, patient))  # type: ignore[arg-type]
        hu = {prior: np.concatenate(each) for prior, each in by_prior.items()}
        votes, decisions = ({p: f(x) for p, x in hu.items()} for f in (bone_like, decided))
        found[name] = reliability(votes, seen, decisions)
    return found


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
