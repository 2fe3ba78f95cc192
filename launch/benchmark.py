"""Measure: quality against evaluations of one trained network, the speed of this machine, how
training scales over devices, or whether draws are as often bone as the MR allows.

python launch/benchmark.py --mode=frontier --workdir=out/demo/runs/ddpm --data=out/demo/data \
    --output=out/frontier
python launch/benchmark.py --mode=speed --output=out/speed
python launch/benchmark.py --mode=scaling --output=out/scaling
python launch/benchmark.py --mode=reliability --output=out/reliability

reliability makes phantoms whose MR tells the probability of the ambiguous region's outcome and
trains the demo's DDPM on them first, half an hour on two CPU cores; drawing from it takes as long
again. It goes on where it stopped.
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

MODES = ["frontier", "speed", "reliability", "scaling"]
MODE = flags.DEFINE_enum("mode", None, MODES, "What to measure.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "frontier: a trained diffusion network.")
REGRESSION = flags.DEFINE_string("regression", None, "frontier: a CNN to stand beside it.")
DATA = flags.DEFINE_string("data", None, "frontier: the prepared data; validation patients.")
PATIENTS = flags.DEFINE_integer("patients", 0, "frontier: how many; 0 for all.", lower_bound=0)
WITH = flags.DEFINE_list(
    "samplers", [], "frontier: all if not given; reliability: those of the demo's table."
)
BUDGETS = flags.DEFINE_list(
    "evaluations",
    ["5", "8", "10", "15", "20", "35", "50", "100", "250", "1000"],
    "frontier: network evaluations a draw.",
)
REFERENCE = flags.DEFINE_integer(
    "reference",
    1000,
    "frontier: evaluations of the DDPM to hold all to.",
    lower_bound=1,
)
DRAWS = flags.DEFINE_integer(
    "draws", 10, "frontier, reliability: draws of each slice.", lower_bound=2
)
SEED = flags.DEFINE_integer(
    "seed",
    0,
    "frontier, reliability: seed of the draws.",
    lower_bound=0,
    upper_bound=LARGEST_SEED,
)
SIZES = flags.DEFINE_list("sizes", ["64", "128"], "speed: sides of the square slices.")
BATCH = flags.DEFINE_integer("batch", 4, "speed: slices at once.", lower_bound=1)
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "speed: of the network.")
REPEATS = flags.DEFINE_integer("repeats", 7, "speed: timed calls of each.", lower_bound=3)
TORCH = flags.DEFINE_bool("torch", False, "speed: beside PyTorch and MONAI (extra `bench`).")

DEMO_PHANTOM = {"shape": (64, 48, 6), "spacing": (6.25, 6.25, 13.0)}  # voxels, mm
TOLD = {"train": 500, "validation": 5, "test": 40}  # patients of the reliability phantoms
TOLD_STEPS = 20_000
TOLD_LOG_MEAN = -0.4  # trains most where an outcome is decided: noise about as strong as it
TOLD_SAMPLING = {"em_steps": 100, "pc_steps": 50, "ode_rtol": 0.1, "ode_atol": 0.1}
RECIPES = Path(__file__).resolve().parent.parent / "configs"


def main() -> None:
    from sde_ct.runtime import parallel

    parallel.set_up()
    modes = {"frontier": _frontier, "speed": _speed, "reliability": _reliability}
    (modes | {"scaling": _scaling})[MODE.value](Path(OUTPUT.value))


def _frontier(output: Path) -> None:
    from sde_ct.data.prepared import read_prepared
    from sde_ct.evaluation.results import write_json
    from sde_ct.lab.benchmark import frontier
    from sde_ct.lab.comparison import held_out
    from sde_ct.methods.samplers import SAMPLERS
    from sde_ct.report import figures
    from sde_ct.runtime import parallel
    from sde_ct.synthesis import load

    if not WORKDIR.value or not DATA.value:
        raise InputError("--mode=frontier: give --workdir=RUN and --data=PREPARED.")
    samplers = _samplers(SAMPLERS)
    if not all(n.isdecimal() and int(n) > 0 for n in BUDGETS.value):
        raise InputError(f"--evaluations={','.join(BUDGETS.value)}: give whole numbers above 0.")
    table = output / "frontier.csv"
    if table.exists():
        raise InputError(f"{table} exists: give another --output or remove it.")
    trained = load(Path(WORKDIR.value))
    patients = held_out(read_prepared(DATA.value), "validation")[: PATIENTS.value or None]
    if not patients:
        raise InputError(f"{DATA.value} has no validation patients: prepare it with some.")
    budgets = [int(n) for n in BUDGETS.value]
    options = trained.config.sampling
    if not any(frontier.settings(options, samplers, budgets, REFERENCE.value)):
        raise InputError(f"--evaluations={','.join(BUDGETS.value)}: too few for any sampler.")
    output.mkdir(parents=True, exist_ok=True)
    points = []
    if REGRESSION.value:
        points.append(frontier.regression(load(Path(REGRESSION.value)), patients))
    for point in frontier.frontier(
        trained,
        patients,
        samplers,
        budgets,
        reference=REFERENCE.value,
        draws=DRAWS.value,
        seed=SEED.value,
        progress=partial(bar, desc="frontier", unit="setting"),
    ):
        points.append(point)
        frontier.write_points(points, table)  # at once: an interrupted run leaves what it has
    about = {
        "workdir": WORKDIR.value,
        "step": trained.step,
        "patients": [p.id for p in patients],
        "draws": DRAWS.value,
        "seed": SEED.value,
        "devices": parallel.describe_devices(),
    }
    write_json(output / "frontier.json", frontier.record(points, about))
    title = f"validation patients: {len(patients)}, {DRAWS.value} draws, step {trained.step}"
    figures.save(figures.frontier(frontier.curves(points), title), output / "frontier")
    for line in frontier.sentences(points):
        print(line)
    print(f"{output}: frontier.csv, frontier.json, frontier.png, frontier.pdf")


def _samplers(otherwise: Iterable[str]) -> list[str]:
    from sde_ct.methods.samplers import SAMPLERS

    for name in WITH.value:
        if name not in SAMPLERS:
            raise InputError(f"--samplers: unknown {name!r}; give some of {', '.join(SAMPLERS)}.")
    return WITH.value or list(otherwise)


def _reliability(output: Path) -> None:
    from sde_ct.evaluation.results import write_json
    from sde_ct.lab.benchmark import reliability
    from sde_ct.lab.comparison import held_out, outcomes_seen
    from sde_ct.report import figures
    from sde_ct.report.html.report_file import NAME as REPORT
    from sde_ct.report.html.report_file import write_report
    from sde_ct.synthesis import load
    from sde_ct.training.loop import train
    from sde_ct.uncertainty.reliability import sentence

    samplers = _samplers(reliability.NAMES)
    table = output / "reliability.json"
    if table.exists():
        raise InputError(f"{table} exists: give another --output or remove it.")
    prepared = _phantoms_that_tell(output)
    config = recipe(RECIPES / "demo" / "ddpm.py")
    config.training.steps = config.training.validate_every = TOLD_STEPS
    config.diffusion.log_mean = TOLD_LOG_MEAN
    config.sampling = dataclasses.replace(config.sampling, **TOLD_SAMPLING)
    train(config, prepared, output / "runs" / "ddpm")
    trained, patients = load(output / "runs" / "ddpm"), held_out(prepared)
    results = reliability.synthesize(
        trained,
        patients,
        samplers,
        draws=DRAWS.value,
        seed=SEED.value,
        progress=lambda patients, name: bar(patients, desc=name, unit="patient"),
    )
    found = reliability.measure(results, patients, outcomes_seen(prepared))
    figures.save(figures.reliability(found), output / "reliability")
    write_report(
        output / REPORT, reliability.report(results, patients, found, output), overwrite=True
    )
    about = {"step": trained.step, "draws": DRAWS.value, "seed": SEED.value}
    write_json(table, reliability.record(found, about))
    for name, one in found.items():
        print(sentence(name, one))
    print(f"{output}: reliability.json, reliability.png, reliability.pdf, {REPORT}")


def _phantoms_that_tell(output: Path):
    """Phantoms whose MR tells the prior, as many to train as make the share of each known."""
    from sde_ct.data.preparation.prepare import prepare
    from sde_ct.data.prepared import INDEX, read_prepared
    from sde_ct.lab.benchmark import reliability
    from sde_ct.lab.phantom.cohort import phantom_cases

    if (output / "data" / INDEX).exists():
        return read_prepared(output / "data")
    cases = phantom_cases(
        output / "cohort",
        sum(TOLD.values()),
        seed=0,
        visible_priors=reliability.PRIORS,
        progress=partial(bar, desc="phantoms", unit="patient"),
        **DEMO_PHANTOM,
    )
    names, (train_, validate, _) = [case.id for case in cases], TOLD.values()
    split = {
        "train": names[:train_],
        "validation": names[train_ : train_ + validate],
        "test": names[train_ + validate :],
    }
    return prepare(cases, output / "data", source="phantom", split=split)


def _speed(output: Path) -> None:
    import jax

    from sde_ct.evaluation.results import write_json
    from sde_ct.lab.benchmark import speed, step
    from sde_ct.runtime import parallel

    path = output / "speed.json"
    if path.exists():
        raise InputError(f"{path} exists: give another --output or remove it.")
    if TORCH.value and not (find_spec("torch") and find_spec("monai")):
        raise InputError("--torch: PyTorch or MONAI is missing; pip install '.[bench]'.")
    network = dataclasses.replace(speed.PAPER, dtype=DTYPE.value)
    sizes = [int(size) for size in SIZES.value if size.isdecimal()]
    if not sizes or len(sizes) < len(SIZES.value) or any(size % 16 for size in sizes):
        raise InputError(f"--sizes={','.join(SIZES.value)}: give multiples of 16.")
    output.mkdir(parents=True, exist_ok=True)
    record = {"devices": parallel.describe_devices(), "jax": jax.__version__, "measured": []}
    for size in bar(sizes, desc="networks", unit="size"):
        record["measured"].append(
            speed.measure(network, size, BATCH.value, torch=TORCH.value, repeats=REPEATS.value)
        )
        write_json(path, record)
    small = recipe(RECIPES / "demo" / "ddpm.py").network
    count = min(2, len(jax.local_devices()))
    record["collectives"] = step.collectives(speed.experiment(small), 32, 4 // count, count)
    record["overheads"] = speed.overheads(small, 48, 10)
    write_json(path, record)
    for line in speed.lines(record):
        print(line)
    print(f"{path}")


def _scaling(output: Path) -> None:
    from sde_ct.evaluation.results import write_json
    from sde_ct.lab.benchmark import scaling

    path = output / "scaling.json"
    if path.exists():
        raise InputError(f"{path} exists: give another --output or remove it.")
    output.mkdir(parents=True, exist_ok=True)
    record = scaling.run(RECIPES)
    write_json(path, record)
    for line in scaling.lines(record):
        print(line)
    print(f"{path}")


if __name__ == "__main__":
    run(main)
