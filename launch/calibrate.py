"""Correct the spread of a diffusion network by its errors in validation patients.

    python launch/calibrate.py --workdir=out/demo/runs/ddpm --data=out/demo/data --sampler=ddpm

This synthesizes the validation patients of the data that the network was trained on, fits the
corrections, and writes them to calibration.json in the work directory. It reports the share of the
test patients' voxels that the intervals cover before and after the correction. The corrections hold
for this sampler, this number of draws and this checkpoint.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

WORKDIR = flags.DEFINE_string(
    "workdir", None, "A trained diffusion or residual network.", required=True
)
DATA = flags.DEFINE_string("data", None, "The prepared data of its training.", required=True)
SAMPLER = flags.DEFINE_string(
    "sampler", None, "Sampler whose spread is calibrated, e.g. ddpm or dpm_sde.", required=True
)
DRAWS = flags.DEFINE_integer("draws", 10, "Monte-Carlo draws.", lower_bound=2)
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the draws.", lower_bound=0, upper_bound=LARGEST_SEED
)
COVERAGE = flags.DEFINE_float("coverage", 0.9, "Share of voxels that the intervals should cover.")


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.runtime import parallel
    from sde_ct.synthesis import Synthesizer, load
    from sde_ct.synthesis.correction import network
    from sde_ct.uncertainty import recalibration
    from sde_ct.uncertainty.recalibration_fit import fit, lines, record, verify

    parallel.set_up()
    if not 0 < COVERAGE.value < 1:
        raise InputError(f"--coverage={COVERAGE.value}: give 0.9 for 90 %.")
    trained, prepared = load(Path(WORKDIR.value)), read_prepared(DATA.value)
    _require_unseen(trained, prepared)
    synthesize = Synthesizer(trained, SAMPLER.value)
    if not synthesize.is_random:
        raise InputError(f"The sampler {SAMPLER.value!r} has no spread: give another one.")
    path = Path(WORKDIR.value) / recalibration.NAME
    if path.exists():
        raise InputError(f"{path} exists: remove it to calibrate again, or move it to keep both.")
    validation, test = (
        [_synthesized(synthesize, case) for case in prepared.of(part)]
        for part in ("validation", "test")
    )
    fitted = fit(
        validation,
        sampler=SAMPLER.value,
        draws=DRAWS.value,
        coverage=COVERAGE.value,
        network=network(trained),
    )
    verified = verify(fitted, test or validation)
    figures = record(verified, "test" if test else "validation, which were fitted")
    recalibration.write(path, replace(fitted, verified=figures))
    print(f"{path}: fitted on {', '.join(prepared.split['validation'])}.")
    if test:
        print(f"Measured on {', '.join(prepared.split['test'])}:")
    else:
        print(
            "There is no test patient, so the figures below are those of the validation patients."
        )
    print(*lines(fitted, verified), sep="\n")


def _require_unseen(trained, prepared) -> None:
    if not trained.is_random:
        raise InputError(f"A {trained.config.method} has no spread: give a diffusion network.")
    if not prepared.split["validation"]:
        raise InputError(f"{DATA.value} has no validation patients: prepare it with some.")
    seen = set(trained.data["split"]["train"])
    for part in ("validation", "test"):
        if both := sorted(seen & set(prepared.split[part])):
            raise InputError(
                f"the network was trained on {', '.join(both)} of the {part} patients in "
                f"{DATA.value}: give the data of its training."
            )


def _synthesized(synthesize, case):
    """Synthesize one patient of the prepared set; its mask is the measured part of the body."""
    from sde_ct.uncertainty.recalibration_fit import Validation

    ct, mask = case.volume("ct"), case.volume("mask")
    mr, *further = (case.volume(name) for name in case.mrs)
    draws = synthesize(
        mr,
        case=case.id,
        draws=DRAWS.value,
        seed=SEED.value,
        further=further,
        mask=mask,
        progress=partial(bar, desc=case.id, unit="batch", leave=False),
    )
    return Validation(draws.mean.array, draws.spread.array, ct.array, mask.array)


if __name__ == "__main__":
    run(main)
