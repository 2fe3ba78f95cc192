"""Measure the quality of samplers by cost (frontier), the speed of networks (speed), training on
several devices (scaling), the share of draws that show bone (reliability), or verdicts without a CT
(acceptance).

python launch/benchmark.py --mode=frontier --workdir=out/demo/runs/ddpm --data=out/demo/data \
    --output=out/frontier
python launch/benchmark.py --mode=speed --output=out/speed
python launch/benchmark.py --mode=scaling --output=out/scaling
python launch/benchmark.py --mode=reliability --output=out/reliability
python launch/benchmark.py --mode=acceptance --output=out/acceptance

The mode reliability makes phantoms whose MR shows the probability of bone in the ambiguous region.
It trains a network of the demo on them, and compares the share of draws that show bone with that
probability. This takes about an hour on two CPU cores; an interrupted run continues where it
stopped. The mode acceptance trains the demo's residual network on 40 phantoms, and measures false
alarms, refusals and predicted errors, in about ten minutes.
"""

import dataclasses
from collections.abc import Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from absl import flags

from sde_ct.config import LARGEST_SEED, recipe
from sde_ct.errors import InputError
from sde_ct.runtime.bars import bar
from sde_ct.runtime.cli import run

MODES = ["frontier", "speed", "reliability", "scaling", "acceptance"]
MODE = flags.DEFINE_enum("mode", None, MODES, "What to measure.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
WORKDIRS = flags.DEFINE_multi_string(
    "workdir", None, "frontier: work directory of a network whose draws differ; may be repeated."
)
REGRESSION = flags.DEFINE_string(
    "regression", None, "frontier: work directory of a CNN to compare with."
)
DATA = flags.DEFINE_string("data", None, "frontier: prepared data with validation patients.")
PATIENTS = flags.DEFINE_integer("patients", 0, "frontier: validation patients; 0 takes all.", 0)
CHOSEN = flags.DEFINE_list(
    "samplers",
    [],
    "frontier, reliability: samplers; default: all (frontier), or ddpm, em, pc, ode and dpm_sde "
    "(reliability). distil takes none.",
)
BUDGETS = flags.DEFINE_list(
    "evaluations",
    ["5", "8", "10", "15", "20", "35", "50", "100", "250", "1000"],
    "frontier: network evaluations for each draw.",
)
REFERENCE = flags.DEFINE_integer(
    "reference", 1000, "frontier: a further number of evaluations for ddpm.", lower_bound=1
)
RECIPE = flags.DEFINE_enum(
    "recipe",
    "residual",
    ["residual", "ddpm", "score", "distil"],
    "reliability: the recipe of configs/demo, which is trained longer than in the demo. distil "
    "first trains its teacher, residual.",
)
DRAWS = flags.DEFINE_integer("draws", 10, "frontier, reliability: draws per slice.", 2)
SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the draws; for acceptance, seed of the phantoms.", 0, LARGEST_SEED
)
SIZES = flags.DEFINE_list("sizes", ["64", "128"], "speed: sides of the square slices.")
BATCH = flags.DEFINE_integer("batch", 4, "speed: slices per batch.", lower_bound=1)
DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "bfloat16"], "speed: type of the network."
)
REPEATS = flags.DEFINE_integer("repeats", 7, "speed: timed calls of each program.", lower_bound=3)
TORCH = flags.DEFINE_bool("torch", False, "speed: compare with PyTorch and MONAI (extra `bench`).")

RECIPES = Path(__file__).resolve().parent.parent / "configs"


def main() -> None:
    from sde_ct.runtime import parallel

    parallel.set_up(keep_memory=True)
    mode = MODE.value
    result = Path(OUTPUT.value) / ("frontier.csv" if mode == "frontier" else f"{mode}.json")
    if result.exists():
        raise InputError(f"{result} exists: give another --output or remove it.")
    modes = {"frontier": _frontier, "speed": _speed, "reliability": _reliability}
    modes |= {"scaling": _scaling, "acceptance": _acceptance}
    for line in modes[mode](result):
        print(line)


def _frontier(table: Path) -> list[str]:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.evaluation.results import write_figures
    from sde_ct.lab.benchmark import frontier
    from sde_ct.lab.comparison import held_out
    from sde_ct.methods.samplers import SAMPLERS
    from sde_ct.report import charts, figures
    from sde_ct.runtime import parallel
    from sde_ct.synthesis import load

    if not all(WORKDIRS.value or [None]) or not DATA.value:
        raise InputError("--mode=frontier: give --workdir=RUN and --data=PREPARED.")
    samplers, given = _samplers(SAMPLERS), f"--evaluations={','.join(BUDGETS.value)}"
    if not all(n.isdecimal() and int(n) > 0 for n in BUDGETS.value):
        raise InputError(f"{given}: give whole numbers above 0.")
    networks = {Path(folder).name: load(Path(folder)) for folder in WORKDIRS.value}
    if len(networks) < len(WORKDIRS.value):
        raise InputError("--workdir: give work directories with different names.")
    patients = held_out(read_prepared(DATA.value), "validation")[: PATIENTS.value or None]
    if not patients:
        raise InputError(f"{DATA.value} has no validation patients: prepare it with some.")
    budgets = [int(n) for n in BUDGETS.value]
    first = next(iter(networks.values())).config
    if not any(frontier.settings(first, samplers, budgets, REFERENCE.value)):
        raise InputError(f"{given}: give larger numbers, because every sampler needs more.")
    output = table.parent
    output.mkdir(parents=True, exist_ok=True)
    points = []
    if REGRESSION.value:
        cnn = Path(REGRESSION.value)
        points.append(frontier.regression(load(cnn), patients, cnn.name))
    for name, trained in networks.items():
        for point in frontier.frontier(
            trained,
            patients,
            samplers,
            budgets,
            reference=REFERENCE.value,
            draws=DRAWS.value,
            seed=SEED.value,
            name=name,
            progress=partial(bar, desc=f"frontier of {name}", unit="setting"),
        ):
            points.append(point)
            # Points are written at once, so that they survive an interruption.
            frontier.write_points(points, table)
    about = {
        "steps": {name: trained.step for name, trained in networks.items()},
        "patients": [p.id for p in patients],
        "draws": DRAWS.value,
        "seed": SEED.value,
        "devices": parallel.describe_devices(),
    }
    write_figures(output / "frontier.json", frontier.record(points, about))
    title = f"validation patients: {len(patients)}, {DRAWS.value} draws"
    figures.save(charts.frontier(frontier.curves(points), title), output / "frontier")
    written = f"{output}: frontier.csv, frontier.json, frontier.png, frontier.pdf"
    return [*frontier.sentences(points), written]


def _samplers(otherwise: Iterable[str]) -> list[str]:
    from sde_ct.methods.samplers import SAMPLERS

    for name in CHOSEN.value:
        if name not in SAMPLERS:
            raise InputError(f"--samplers: unknown {name!r}; give some of {', '.join(SAMPLERS)}.")
    return CHOSEN.value or list(otherwise)


def _reliability(result: Path) -> list[str]:
    from sde_ct.evaluation.results import write_figures
    from sde_ct.lab.benchmark import known_priors
    from sde_ct.lab.comparison import held_out, training_outcomes
    from sde_ct.lab.comparison import synthesis as comparison
    from sde_ct.report import charts, figures
    from sde_ct.report.html.report_file import NAME as REPORT
    from sde_ct.report.html.report_file import write_report
    from sde_ct.synthesis import load
    from sde_ct.uncertainty.reliability import sentence

    samplers: list[str | None] = [*_samplers(comparison.SDES)]
    if RECIPE.value == "distil":
        if CHOSEN.value:
            raise InputError("--samplers: distil draws without a sampler: leave the flag out.")
        samplers = [None]
    output = result.parent
    prepared = known_priors.phantoms(output, partial(bar, desc="phantoms", unit="patient"))
    workdir = known_priors.train(RECIPES / "demo", RECIPE.value, prepared, output / "runs")
    trained, patients = load(workdir), held_out(prepared)
    results = known_priors.synthesize(
        trained,
        patients,
        samplers,
        draws=DRAWS.value,
        seed=SEED.value,
        progress=lambda patients, name: bar(patients, desc=name, unit="patient"),
    )
    measured = known_priors.measure(results, patients, training_outcomes(prepared))
    figures.save(charts.reliability(measured), output / "reliability")
    page = known_priors.report(results, patients, measured, output)
    write_report(output / REPORT, page, overwrite=True)
    about = {"recipe": RECIPE.value, "step": trained.step, "draws": DRAWS.value, "seed": SEED.value}
    write_figures(result, known_priors.record(measured, about))
    written = f"{output}: reliability.json, reliability.png, reliability.pdf, {REPORT}"
    return [*(sentence(name, one) for name, one in measured.items()), written]


def _speed(result: Path) -> list[str]:
    from sde_ct.lab.benchmark import speed

    if TORCH.value and not (find_spec("torch") and find_spec("monai")):
        raise InputError("--torch: PyTorch or MONAI is missing; pip install '.[bench]'.")
    sizes = [int(size) for size in SIZES.value if size.isdecimal()]
    if not sizes or len(sizes) < len(SIZES.value) or any(size % 16 for size in sizes):
        raise InputError(f"--sizes={','.join(SIZES.value)}: give multiples of 16.")
    record = speed.run(
        dataclasses.replace(speed.PAPER, dtype=DTYPE.value),
        recipe(RECIPES / "demo" / "ddpm.py").network,
        bar(sizes, desc="networks", unit="size"),
        result,
        batch=BATCH.value,
        torch=TORCH.value,
        repeats=REPEATS.value,
    )
    return [*speed.lines(record), str(result)]


def _scaling(result: Path) -> list[str]:
    from sde_ct.evaluation.results import write_figures
    from sde_ct.lab.benchmark import scaling

    record = scaling.run(RECIPES)
    result.parent.mkdir(parents=True, exist_ok=True)
    write_figures(result, record)
    return [*scaling.lines(record), str(result)]


def _acceptance(result: Path) -> list[str]:
    from sde_ct.evaluation.results import write_figures
    from sde_ct.lab.benchmark import acceptance, acceptance_results
    from sde_ct.report import figures
    from sde_ct.report.acceptance_chart import chart

    output, seed = result.parent, SEED.value
    prepared = acceptance.phantoms(output, seed, partial(bar, desc="phantoms", unit="patient"))
    config = recipe(RECIPES / "demo" / "residual.py")
    judge = acceptance.Judge(config, prepared, output / "run", partial(bar, unit="volume"))
    groups = acceptance.unseen(prepared), acceptance.shifted(seed), acceptance.faulty(seed)
    judged = [[judge(*one) for one in bar(some, desc="judge", unit="volume")] for some in groups]
    found = acceptance_results.record(judge.reference, *judged)
    figures.save(chart(found), output / "acceptance")
    write_figures(result, found)
    written = f"{output}: acceptance.json, acceptance.png, acceptance.pdf"
    return [*acceptance_results.lines(found), written]


if __name__ == "__main__":
    run(main)
