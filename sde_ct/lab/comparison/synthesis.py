"""The synthetic CTs of every method on every patient."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.lab.comparison.patients import Patient
from sde_ct.methods.samplers import SAMPLERS
from sde_ct.synthesis import Synthesizer, SyntheticCT, load

Results = dict[str, dict[str, SyntheticCT]]  # method -> patient -> synthetic CT


class Entry(NamedTuple):
    """One method of the table: its network, and the sampler that draws from it."""

    run: str  # ddpm | score | cnn | gan
    sampler: str | None


RUNS = {"ddpm": "ddpm", "em": "score", "pc": "score", "ode": "score", "dpm_sde": "score"}
ENTRIES = {"CNN": Entry("cnn", None), "GAN": Entry("gan", None)}
ENTRIES |= {SAMPLERS[name].label: Entry(run, name) for name, run in RUNS.items()}


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
      runs: the folder with the work directories `ddpm`, `score`, `cnn` and `gan`.
      progress: wraps the batches of one volume; its second argument names the volume.
    """
    results: Results = {}
    for name, entry in ENTRIES.items():
        synthesize = Synthesizer(load(runs / entry.run), entry.sampler)
        results[name] = {
            patient.id: synthesize(
                patient.mr,
                case=patient.id,
                draws=draws if entry.sampler else 1,
                seed=seed,
                mask=patient.mask,
                progress=lambda batches, label=f"{name} {patient.id}": progress(batches, label),
            )
            for patient in patients
        }
    return results
