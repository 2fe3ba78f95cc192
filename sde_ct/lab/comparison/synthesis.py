"""The synthetic CTs of every method on every patient."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.evaluation.table import DIRECT, DISTILLED
from sde_ct.lab.comparison.patients import Patient
from sde_ct.methods.samplers import MEAN, SAMPLERS
from sde_ct.synthesis import Synthesizer, SyntheticCT, load
from sde_ct.synthesis.trained import with_budget, with_sde

FEW = 4  # evaluations of UniPC; DPM++ has those of the recipe, 20 in the demo

Results = dict[str, dict[str, SyntheticCT]]  # method -> patient -> synthetic CT


class Entry(NamedTuple):
    """One method of the table: its network, and the sampler that draws from it."""

    run: str  # residual | ddpm | distilled | cnn | gan
    sampler: str | None
    sde: str | None = None  # the SDE that the sampler uses; None: the SDE of the training
    evaluations: int | None = None  # of each draw; None: as many as the recipe says


# The paper samples its DDPM on a VP SDE, and its score model by EM, PC and ODE on a VE SDE.
SDES = {"ddpm": None, "em": "ve", "pc": "ve", "ode": "ve", "dpm_sde": None}
ENTRIES = {"CNN": Entry("cnn", None), "GAN": Entry("gan", None), "Mean": Entry("residual", MEAN)}
ENTRIES |= {SAMPLERS[name].label: Entry("residual", name, sde) for name, sde in SDES.items()}
ENTRIES["UniPC"] = Entry("residual", "unipc", evaluations=FEW)
ENTRIES[DISTILLED] = Entry("distilled", None)
ENTRIES[DIRECT] = Entry("ddpm", "ddpm")


def synthesize_all(
    runs: Path,
    patients: Sequence[Patient],
    *,
    draws: int,
    seed: int,
    progress: Callable[[Iterable[Any], str], Iterable[Any]],
) -> Results:
    """{method: {patient: synthetic CT}} for every entry of the table except the lookup.

    Args:
      runs: the folder with the work directories `residual`, `ddpm`, `distilled`, `cnn` and `gan`.
      progress: wraps the batches of one volume; its second argument is "METHOD PATIENT".
    """
    results: Results = {}
    networks = {run: load(runs / run) for run in {entry.run for entry in ENTRIES.values()}}
    for name, entry in ENTRIES.items():
        trained = with_sde(networks[entry.run], entry.sde, entry.sampler)
        trained = with_budget(trained, entry.sampler, entry.evaluations)
        synthesize = Synthesizer(trained, entry.sampler)
        results[name] = {
            patient.id: synthesize(
                patient.mr,
                case=patient.id,
                draws=draws if synthesize.is_random else 1,
                seed=seed,
                mask=patient.mask,
                progress=lambda batches, label=f"{name} {patient.id}": progress(batches, label),
            )
            for patient in patients
        }
    return results
