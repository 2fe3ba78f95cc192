"""Repeat the paper's whole comparison on phantom pelvises, from phantoms to tables.

    python launch/demo.py --output=out/demo
    python launch/demo.py --output=out/longer --patients=255 --longer=10

The demo writes phantom patients as NIfTI files in the layout of SynthRAD2023 and treats them like
real data: it prepares them, trains five networks, synthesizes the held-out patients and evaluates
the results. On a CPU the networks are trained side by side, each on one core. An interrupted demo
continues where it stopped.

--longer=N gives every network N times as many updates. The learning rates of the CNN, the residual
and the distilled network are then divided by the square root of N. Slices are deformed N times as
strongly, at most with strength 1, so that no network learns the training patients by heart. The
residual and the distilled network are trained at noise levels that are uniform in time, as in
configs/gold_atlas.
"""

import math
import sys
import time
from functools import partial
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED, Experiment, recipe
from sde_ct.config_record import changes
from sde_ct.runtime.bars import bar, say
from sde_ct.runtime.cli import run

OUTPUT = flags.DEFINE_string("output", "out/demo", "Folder for everything that the demo makes.")
PATIENTS = flags.DEFINE_integer("patients", 40, "Phantom patients.", lower_bound=6)
LONGER = flags.DEFINE_integer("longer", 1, "Factor on the updates of the recipes.", lower_bound=1)
DRAWS = flags.DEFINE_integer("draws", 10, "Monte-Carlo draws of each sampler.", lower_bound=2)
SEED = flags.DEFINE_integer("seed", 0, "Seed of phantoms and draws.", 0, LARGEST_SEED)

HERE = Path(__file__).resolve().parent
RECIPES, TRAIN = HERE.parent / "configs" / "demo", HERE / "train.py"
# The networks of one chain are trained one after the other; the longest chains come first.
CHAINS = (("residual", "distilled"), ("cnn",), ("gan",), ("ddpm",))
RUNS = ("residual", "distilled", "ddpm", "cnn", "gan")
RECIPE = {"distilled": "distil"}  # recipes whose files have other names than their networks
TEACHERS = {"distilled": "residual"}
# At the recipe's learning rate, longer training makes the loss of a regression rise again.
SLOWED = ("cnn", "residual", "distilled")
HELD_OUT = {"validation": 2, "test": 3}  # patients; the rest train


def main() -> None:
    from sde_ct.evaluation.protocols import VOLUME, constants
    from sde_ct.evaluation.results import refuse_existing, write_figures, write_metrics
    from sde_ct.evaluation.table import METHODS
    from sde_ct.lab import comparison
    from sde_ct.lab.comparison.presentation import report_of
    from sde_ct.report.html.report_file import NAME as REPORT
    from sde_ct.report.html.report_file import write_report
    from sde_ct.runtime import parallel
    from sde_ct.storage.versions import versions
    from sde_ct.uncertainty import judgement

    parallel.set_up()
    start = time.perf_counter()
    output = Path(OUTPUT.value)
    refuse_existing(output)  # a finished demo, whose last files are the metrics
    prepared = _data(output)
    _train(prepared.folder, output / "runs", start)
    _say(start, "3/4 synthesize the held-out patients")
    patients = comparison.held_out(prepared)
    results = comparison.synthesize_all(
        output / "runs", patients, draws=DRAWS.value, seed=SEED.value, progress=_bar
    )
    _say(start, "4/4 evaluate")
    lookup = comparison.lookup_control(prepared)
    table = {"lookup": {p.id: comparison.apply_lookup(lookup, p, prepared) for p in patients}}
    table |= results
    judged = comparison.judgements_of(results, patients)
    rows = sorted(
        comparison.rows_of(table, patients, VOLUME, judged), key=lambda r: METHODS.index(r.method)
    )
    comparison.write_volumes(table, output)
    comparison.pictures(table, patients[0], output)
    ambiguity = comparison.ambiguity_of(results, patients)
    _print(rows, ambiguity, settings := _settings(prepared, patients))
    print("\nUncertainty of the draws:", *judgement.lines(judged), sep="\n")
    write_figures(output / judgement.NAME, judgement.record(judged))
    made_by = {"Settings": settings, "Protocol": constants(VOLUME), "Versions": versions()}
    page = report_of(table, patients, rows, judged, output, made_by)
    write_report(output / REPORT, page, overwrite=True)
    write_metrics(output, rows, VOLUME, settings)
    print(
        f"\n{output}: metrics.csv, metrics.json, uncertainty.json, comparison.png and .pdf, "
        "uncertainty.png and .pdf, sct/, sct_std/"
    )
    print(f"Look at everything in a browser: {output / REPORT}")
    _say(start, "done")


def _train(prepared: Path, runs: Path, start: float) -> None:
    """Train all networks by launch/train.py, side by side on a CPU."""
    from sde_ct.runtime.side_by_side import side_by_side

    _say(start, f"2/4 train {', '.join(RUNS)}")
    side_by_side([[_command(name, prepared, runs) for name in names] for names in CHAINS])


def _command(name: str, prepared: Path, runs: Path) -> list[str]:
    path = _recipe_path(name)
    teacher = [f"--teacher={runs / TEACHERS[name]}"] if name in TEACHERS else []
    changed = changes(recipe(path), _recipe(name))
    return [
        *(sys.executable, str(TRAIN), f"--config={path}"),
        *(f"--config.{field}={value}" for field, value in changed.items()),
        *(f"--data={prepared}", f"--workdir={runs / name}", *teacher),
    ]


def _recipe(name: str) -> Experiment:
    config = recipe(_recipe_path(name))
    config.training.steps *= LONGER.value
    config.training.validate_every *= LONGER.value
    config.data.deform = min(LONGER.value * config.data.deform, 1.0)
    if LONGER.value > 1 and name in ("residual", "distilled"):
        config.diffusion.times = "uniform"
    if name in SLOWED:
        config.training.learning_rate /= math.sqrt(LONGER.value)
    return config


def _recipe_path(name: str) -> Path:
    return RECIPES / f"{RECIPE.get(name, name)}.py"


def _bar(batches, label: str):
    return bar(batches, desc=label.ljust(11), unit="batch", leave=False)


def _data(output: Path):
    from sde_ct.lab.phantom.cohort import DEMO, prepared_cohort

    counts = {"train": PATIENTS.value - sum(HELD_OUT.values()), **HELD_OUT}
    progress = partial(bar, desc="1/4 phantoms", unit="patient")
    return prepared_cohort(output, counts, SEED.value, progress=progress, **DEMO)


def _settings(prepared, patients: list) -> dict:
    recipes = {name: _recipe(name) for name in RUNS}
    steps = recipes["residual"].sampling
    return {
        "draws": DRAWS.value,
        "seed": SEED.value,
        "slice_size": list(prepared.size),
        "training_patients": len(prepared.split["train"]),
        "test_patients": [patient.id for patient in patients],
        "test_slices": sum(len(prepared.cases[patient.id]) for patient in patients),
        "updates": {name: config.training.steps for name, config in recipes.items()},
        "steps": {
            "ddpm": steps.ddpm_steps,
            "em": steps.em_steps,
            "pc": steps.pc_steps,
            "pc_corrector": steps.corrector_steps,
            "ode_tolerance": steps.ode_rtol,
            "dpm": steps.fast_evaluations,
            "direct": recipes["ddpm"].sampling.ddpm_steps,
        },
    }


def _print(rows: list, ambiguity: dict, settings: dict) -> None:
    from sde_ct.evaluation.findings import findings
    from sde_ct.evaluation.table import summarise, text_table
    from sde_ct.lab.comparison.demands import checks

    height, width = settings["slice_size"]
    steps = settings["steps"]
    updates = ", ".join(f"{name} {number}" for name, number in settings["updates"].items())
    print(
        f"\nHeld out: {len(settings['test_patients'])} patients, {settings['test_slices']} slices "
        f"of {height} x {width}; -M: mean of {settings['draws']} draws; mean ± std over patients.\n"
        f"Updates of each network: {updates}.\n"
        f"Steps: DDPM {steps['ddpm']}, EM {steps['em']}, PC {steps['pc']} with "
        f"{steps['pc_corrector']} correction each, ODE adaptive at tolerance "
        f"{steps['ode_tolerance']:g}, direct DDPM {steps['direct']}; DPM-Solver++ makes "
        f"{steps['dpm']} evaluations.\n"
    )
    print(text_table(summarise(rows)))
    print("The paper's findings, checked against these figures:")
    print(*(f"- {finding}" for finding in findings(rows)), sep="\n")
    print("\nDemands:", *(f"  {check}" for check in checks(rows, ambiguity)), sep="\n")


def _say(start: float, text: str) -> None:
    say(f"[{(time.perf_counter() - start) / 60:4.1f} min] {text}")


if __name__ == "__main__":
    run(main)
