"""Fit a diffusion network's spread to validation patients: calibration.json beside its checkpoints.

    python launch/calibrate.py --workdir=out/demo/runs/ddpm --data=out/demo/data --sampler=ddpm

synthesizes the validation patients of the data that the network was trained with, fits the
corrections by patient, and tells how many voxels of the test patients the intervals cover before
and after. What is fitted holds for this sampler, this number of draws and this checkpoint.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

WORKDIR = flags.DEFINE_string("workdir", None, "A trained diffusion network.", required=True)
DATA = flags.DEFINE_string("data", None, "The prepared data it was trained with.", required=True)
SAMPLER = flags.DEFINE_string(
    "sampler", None, "Sampler whose spread is calibrated, e.g. ddpm or dpm_sde.", required=True
)
DRAWS = flags.DEFINE_integer("draws", 10, "Monte-Carlo draws.", lower_bound=2)
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=LARGEST_SEED
)
COVERAGE = flags.DEFINE_float("coverage", 0.9, "Share of voxels that intervals are to cover.")


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.lab.comparison import held_out
    from sde_ct.runtime import parallel
    from sde_ct.synthesis import Synthesizer, load
    from sde_ct.synthesis.correction import network
    from sde_ct.uncertainty import recalibration
    from sde_ct.uncertainty.recalibration_fit import fit, lines, record, verify

    parallel.set_up()
    path = Path(WORKDIR.value) / recalibration.NAME
    if path.exists():
        raise InputError(f"{path} exists: remove it to calibrate anew.")
    if not 0 < COVERAGE.value < 1:
        raise InputError(f"--coverage={COVERAGE.value}: give 0.9 for 90 %.")
    trained, prepared = load(Path(WORKDIR.value)), read_prepared(DATA.value)
    _require_unseen(trained, prepared)
    synthesize = Synthesizer(trained, SAMPLER.value)
    patients = held_out(prepared, "validation")
    validation = _synthesized(synthesize, patients)
    found = fit(
        validation,
        sampler=SAMPLER.value,
        draws=DRAWS.value,
        coverage=COVERAGE.value,
        network=network(trained),
    )
    test = _synthesized(synthesize, held_out(prepared, "test"))
    verified = verify(found, test or validation)
    told = record(verified, "test" if test else "validation, which were fitted")
    recalibration.write(path, replace(found, verified=told))
    print(f"{path}: fitted on {', '.join(patient.id for patient in patients)}.")
    if not test:
        print("There is no test patient; the figures are those of the fitted patients themselves.")
    for line in lines(found, verified):
        print(line)


def _require_unseen(trained, prepared) -> None:
    if not trained.is_random:
        raise InputError(f"A {trained.config.method} has no spread: give a diffusion network.")
    if not prepared.split["validation"]:
        raise InputError(f"{DATA.value} has no validation patients: prepare it with some.")
    seen = set(trained.data["split"]["train"])
    for part in ("validation", "test"):
        if both := sorted(seen & set(prepared.split[part])):
            raise InputError(
                f"{', '.join(both)} of the {part} patients in {DATA.value} trained the network: "
                "give the data it was trained with."
            )


def _synthesized(synthesize, patients: Sequence) -> list:
    from sde_ct.uncertainty.recalibration_fit import Validation

    found = []
    for patient in patients:
        ct = synthesize(
            patient.mr,
            case=patient.id,
            draws=DRAWS.value,
            seed=SEED.value,
            mask=patient.mask,
            progress=partial(bar, desc=patient.id, unit="batch", leave=False),
        )
        arrays = (ct.mean.array, ct.spread.array, patient.ct.array, patient.mask.array)
        found.append(Validation(*arrays))
    return found


if __name__ == "__main__":
    run(main)
