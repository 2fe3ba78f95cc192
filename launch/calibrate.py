"""Correct the spread of a network's draws by its errors in validation patients.

    python launch/calibrate.py --workdir=out/demo/runs/ddpm --data=out/demo/data --sampler=ddpm

This synthesizes the validation and test patients of the data that the network was trained on, fits
corrections to the validation patients, and writes them to calibration.json in the work directory.
It reports the share of the test patients' voxels that the intervals cover before and after the
correction, or that of the validation patients if there is no test patient. The corrections hold for
this sampler, this number of draws and this checkpoint.

--rays=0,90 --targets=DIR also fits bounds of the water-equivalent path lengths (mm) from these
gantry angles to the targets DIR/<patient>.nii.gz, masks on the MRs' grids, or DIR/<patient>.dcm,
RTSTRUCT files. If the RTSTRUCT files hold several ROIs, --targets=DIR:ROI names one. Without
--targets the rays lead to the centre of each body. launch/synthesize.py --rays --calibrated prints
these bounds.

--structures=DIR also fits bounds of the mean HU of the structures in DIR/<patient>/: masks on the
grids of the prepared MRs, or RTSTRUCT files. launch/synthesize.py --structures --calibrated prints
them.
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
    "workdir", None, "Folder of the training of a network whose draws differ.", required=True
)
DATA = flags.DEFINE_string("data", None, "The prepared data of the training.", required=True)
SAMPLER = flags.DEFINE_string(
    "sampler",
    None,
    "Sampler whose spread is calibrated, as in launch/synthesize.py; networks that draw without a "
    "sampler need none.",
)
DRAWS = flags.DEFINE_integer("draws", 10, "Monte-Carlo draws.", lower_bound=2)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the draws.", 0, LARGEST_SEED)
COVERAGE = flags.DEFINE_float("coverage", 0.9, "Share of voxels that the intervals should cover.")
RAYS = flags.DEFINE_list(
    "rays", [], "Gantry angles in degrees (IEC 61217, couch at 0) whose path lengths get bounds."
)
TARGETS = flags.DEFINE_string(
    "targets",
    None,
    "Folder of masks or RTSTRUCT files by patient, as DIR or DIR:ROI. Default: the centre of the "
    "body.",
)
STRUCTURES = flags.DEFINE_string(
    "structures",
    None,
    "Folder that holds, for each patient, a folder of structures whose mean HU get bounds.",
)
STOPPING_POWER = flags.DEFINE_string(
    "stopping_power",
    None,
    "Proton stopping power by HU: pyradplan (the default), matrad, or a CSV file of HU,RSP.",
)


def main() -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.runtime import parallel
    from sde_ct.synthesis import Synthesizer, load
    from sde_ct.synthesis.correction import network
    from sde_ct.uncertainty import recalibration
    from sde_ct.uncertainty.range_bounds import fit_range_bounds, verified_bounds
    from sde_ct.uncertainty.ray_plan import plan_of_flags
    from sde_ct.uncertainty.recalibration_fit import fit, lines, record, verify
    from sde_ct.uncertainty.structure_bounds import fit_structure_bounds, verified_structures

    parallel.set_up()
    if not 0 < COVERAGE.value < 1:
        raise InputError(f"--coverage={COVERAGE.value}: give 0.9 for 90 %.")
    if TARGETS.value and not RAYS.value:
        raise InputError("--targets works only with --rays: give --rays, or leave it out.")
    plan = plan_of_flags(RAYS.value, STOPPING_POWER.value, target=None, needs_target=False)
    trained, prepared = load(Path(WORKDIR.value)), read_prepared(DATA.value)
    _require_usable(trained, prepared)
    synthesize = Synthesizer(trained, SAMPLER.value)
    if not synthesize.is_random:
        raise InputError(f"The sampler {SAMPLER.value!r} has no spread: give another one.")
    path = Path(WORKDIR.value) / recalibration.NAME
    if path.exists():
        raise InputError(f"{path} exists: remove it to calibrate again, or move it to keep both.")
    targets = _targets(prepared) if TARGETS.value else {}
    masks = _structures(prepared) if STRUCTURES.value else {}
    (validation, ranges, means), (test, test_ranges, test_means) = (
        _synthesized(synthesize, prepared.of(part), plan, targets, masks)
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
    bounds = []
    if plan:
        towards = "target" if targets else "body"
        of_rays = fit_range_bounds(ranges, towards=towards, coverage=COVERAGE.value)
        bounds.append(verified_bounds(of_rays, test_ranges))
        fitted = replace(fitted, path_lengths=bounds[-1].to_json())
    if masks:
        of_structures = fit_structure_bounds(means, coverage=COVERAGE.value)
        bounds.append(verified_structures(of_structures, test_means))
        fitted = replace(fitted, structures=bounds[-1].to_json())
    recalibration.write(path, replace(fitted, verified=figures))
    print(f"{path}: fitted on {', '.join(prepared.split['validation'])}.")
    if test:
        print(f"Measured on {', '.join(prepared.split['test'])}:")
    else:
        print(
            "There is no test patient, so the figures below are those of the validation patients."
        )
    print(*lines(fitted, verified), sep="\n")
    for one in bounds:
        print("", *one.lines(), sep="\n")


def _require_usable(trained, prepared) -> None:
    from sde_ct.synthesis.fitting import require_data_of

    if not trained.draws_differ(None):
        raise InputError(
            f"A {trained.config.method} has no spread: give a network whose draws differ."
        )
    if not prepared.split["validation"]:
        raise InputError(f"{DATA.value} has no validation patients: prepare it with some.")
    require_data_of(trained, prepared, "validation", "test")


def _targets(prepared) -> dict[str, str]:
    """The targets by patient. Every validation patient must have one that can be used."""
    from sde_ct.volumes.target import find_target, read_target, targets_in

    targets = targets_in(TARGETS.value, "targets")
    for case in prepared.of("validation"):
        find_target(TARGETS.value, case.id, "targets")
    for part in ("validation", "test"):
        for case in prepared.of(part):
            if case.id in targets:
                read_target(targets[case.id], case.volume("mr"), case.id)
    return targets


def _structures(prepared) -> dict[str, dict]:
    """The parts of structures that the real CT measured, by patient and name, on the MR's grid.

    Every validation patient must have a folder of structures; a test patient without one is left
    out.
    """
    from sde_ct.volumes.structures import require_structures, structures_on

    require_structures(Path(STRUCTURES.value), [c.id for c in prepared.of("validation")])
    measured: dict[str, dict] = {}
    for part in ("validation", "test"):
        for case in prepared.of(part):
            place = Path(STRUCTURES.value) / case.id
            if part == "test" and not place.is_dir():
                continue
            masks, notes = structures_on(place, case.volume("mr"), case.folder / "mr.nii.gz", "")
            valid = case.volume("valid").array > 0
            inside = {name: (mask.array > 0) & valid for name, mask in masks.items()}
            measured[case.id] = {name: mask for name, mask in inside.items() if mask.any()}
            outside = sorted(set(inside) - set(measured[case.id]))
            notes += [
                f"{place}, {name}, because the real CT did not measure it" for name in outside
            ]
            print(*(f"not measured: {note}\n" for note in notes), sep="", end="")
    if not any(measured[case.id] for case in prepared.of("validation")):
        raise InputError(
            f"--structures={STRUCTURES.value}: the real CTs of the validation patients measured "
            "none of these structures: give others, or leave it out."
        )
    return measured


def _synthesized(synthesize, cases, plan, targets, masks):
    """Synthesize patients of the prepared set, and measure their draws against their CTs.

    Returns what `fit` and `verify` take, the path lengths if there is a plan, and the mean HU of
    the structures in `masks`. If there are targets, only patients with a target have path lengths.
    """
    from sde_ct.synthesis.structures import means_in
    from sde_ct.uncertainty.recalibration_fit import Validation

    patients, ranges, means = [], [], []
    for case in cases:
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
        patients.append(Validation(draws.mean.array, draws.spread.array, ct.array, mask.array))
        if plan and (not targets or case.id in targets):
            ranges.append(_ranges(draws, case, mr, plan, targets.get(case.id)))
        means.append(means_in(draws, masks.get(case.id, {}), ct.array))
    return patients, ranges, means


def _ranges(draws, case, mr, plan, target):
    """The path lengths of one patient to the target; None: to the centre of the body."""
    from sde_ct.data.regions.body import body_mask
    from sde_ct.synthesis.planning import ranges_in
    from sde_ct.volumes.target import read_target

    return ranges_in(
        draws,
        mr,
        read_target(target, mr, case.id) if target else body_mask(mr),
        plan,
        name=case.id,
        ct=case.volume("ct").array,
        measured=case.volume("valid").array > 0,
        centre_only=target is None,
    )


if __name__ == "__main__":
    run(main)
