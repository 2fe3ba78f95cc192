"""How often the acceptance check is right on phantoms: false alarms, refusals, predicted errors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.acceptance.error_bound import LEVEL
from sde_ct.acceptance.fit import RATE
from sde_ct.acceptance.patient import errors
from sde_ct.acceptance.verdict import Verdict, judge
from sde_ct.config import Experiment
from sde_ct.data.prepared import Prepared
from sde_ct.lab.phantom.cohort import DEMO, prepared_cohort
from sde_ct.lab.phantom.faults import DRAWS as FAILED
from sde_ct.lab.phantom.faults import FAULTS, SCANNER, SETTINGS
from sde_ct.lab.phantom.pelvis import PhantomPatient, pelvis_patient
from sde_ct.lab.phantom.scanner import SCANNERS, Scanner
from sde_ct.synthesis import Synthesizer, load, with_budget
from sde_ct.synthesis.acceptance import Measurer, air_facts, settings, settings_facts
from sde_ct.synthesis.fitting import fit_acceptance
from sde_ct.synthesis.synthetic_ct import combine
from sde_ct.training.loop import train
from sde_ct.volumes.volume import Volume

PATIENTS = {"train": 40, "validation": 40, "test": 40}
SAMPLER, DRAWS, EVALUATIONS = "dpm_sde", 4, 8
FEW = 3  # evaluations for the fault `SETTINGS`
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)  # shares of the way from scanner A to scanner B
EACH = 8  # patients for each strength
FAULTY = 3  # patients with each fault
FIRST_FAULTY, FIRST_SHIFTED = 70_000, 80_000  # numbers that no patient of the cohort has


class Judged(NamedTuple):
    """One patient's verdict, and the true MAE by tissue, which is empty without a CT."""

    group: str
    verdict: Verdict
    errors: Mapping[str, float]


def phantoms(output: Path, seed: int, progress: Callable) -> Prepared:
    """The cohort; one organ lies on the right only, so that mirroring can be recognised."""
    return prepared_cohort(output, PATIENTS, seed, sided=True, progress=progress, **DEMO)


class Judge:
    """Train a network on the cohort and fit its acceptance reference; a call judges one MR."""

    def __init__(self, config: Experiment, prepared: Prepared, workdir: Path, progress: Callable):
        train(config, prepared, workdir)
        self._usual = with_budget(load(workdir), SAMPLER, EVALUATIONS)
        self.reference = fit_acceptance(
            self._usual,
            prepared,
            SAMPLER,
            draws=DRAWS,
            rate=RATE,
            level=LEVEL,
            progress=lambda asked: progress(asked, desc="fit"),
        )
        self._synthesize, self._measure = Synthesizer(self._usual, SAMPLER), Measurer(self._usual)

    def __call__(
        self,
        group: str,
        name: str,
        mr: Volume,
        ct: Volume | None = None,
        mask: Volume | None = None,
    ) -> Judged:
        """Synthesize and judge one MR; the groups `SETTINGS` and `FAILED` spoil the synthesis."""
        network, synthesize = self._usual, self._synthesize
        if group == SETTINGS:
            network = with_budget(self._usual, SAMPLER, FEW)
            synthesize = Synthesizer(network, SAMPLER)
        drawn = synthesize.draw(mr, case=name, draws=DRAWS)
        if group == FAILED:
            drawn = drawn._replace(hu=_one_failed(drawn.hu))
        made = combine([drawn], synthesize.air)
        true = errors(made.mean.array, ct.array, mask.array) if ct and mask else {}
        patient = self._measure(name, mr, made.mean, made.spread, made.draws)
        used = settings(network, SAMPLER, DRAWS)
        facts = [*settings_facts(self.reference.network, used), *air_facts(made)]
        return Judged(group, judge(self.reference, self.reference.features(patient), facts), true)


def _one_failed(hu: np.ndarray) -> np.ndarray:
    """The draws, with noise of 300 HU added to the last one."""
    hu = hu.copy()
    hu[-1] += np.random.default_rng(0).normal(0, 300, hu[-1].shape)
    return hu


def unseen(prepared: Prepared) -> list[tuple[str, str, Volume, Volume, Volume]]:
    """The arguments of a `Judge` for the test patients."""
    volumes = ("mr", "ct", "mask")
    return [("unseen", case.id, *map(case.volume, volumes)) for case in prepared.of("test")]  # type: ignore[misc]


def shifted(seed: int) -> list[tuple[str, str, Volume, Volume, Volume]]:
    """The arguments of a `Judge` for patients on scanners between A and B."""
    asked = []
    for strength in STRENGTHS:
        group = f"{strength:g}"
        for number in range(EACH):
            own = _phantom(seed, FIRST_SHIFTED + number, scanner=between(strength))
            asked.append((group, f"shift-{group}-{number}", own.mr, own.ct, own.mask))
    return asked


def faulty(seed: int) -> list[tuple]:
    """The arguments of a `Judge` for patients with each fault; `TRUE_CT` names those with a CT."""
    asked: list[tuple] = []
    for number in range(FAULTY):
        own = _phantom(seed, FIRST_FAULTY + number, t1=True)
        for name, fault in FAULTS.items():
            if name == SCANNER:
                mr = _phantom(seed, FIRST_FAULTY + number, scanner=SCANNERS["B"]).mr
            else:
                mr = fault.mr(own) if fault.mr else own.mr
            known = (own.ct, own.mask) if name in TRUE_CT else ()
            asked.append((name, f"{name}-{number}", mr, *known))
    return asked


# The faults after which the patient's CT still matches the MR.
TRUE_CT = (
    *("fat-suppressed", "T1-weighted", "ghosting at 30 %", "bias field 20:1", "noise"),
    *(SETTINGS, FAILED, SCANNER),
)


def between(strength: float) -> Scanner:
    """A scanner between A (0) and B (1)."""

    def mixed(a: Any, b: Any) -> Any:
        if isinstance(a, tuple):
            return tuple(map(mixed, a, b))
        return (1 - strength) * a + strength * b

    return Scanner(*map(mixed, SCANNERS["A"], SCANNERS["B"]))


def _phantom(seed: int, number: int, **options: Any) -> PhantomPatient:
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return pelvis_patient(own_seed, sided=True, **DEMO, **options)
