"""Determine what a path holds, examine it, and estimate the cost of training or synthesis."""

from collections.abc import Sequence
from pathlib import Path

from sde_ct.config import Experiment, recipe
from sde_ct.data.prepared import INDEX
from sde_ct.doctor.examine_cohort import Progress, examine_cohort, is_cohort
from sde_ct.doctor.examine_prepared import examine_prepared, examine_workdir
from sde_ct.doctor.examine_volume import axial_slices, examine
from sde_ct.doctor.finding import Finding, Report, error
from sde_ct.errors import InputError
from sde_ct.methods import build_method, takes_sampler
from sde_ct.runtime import parallel
from sde_ct.training.cost import Cost, estimate
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import may_be_dicom

SIZE = (256, 256)  # pixels per slice in the recipe for real pelves
SLICES, DRAWS = 80, 10  # slices and draws of a synthesized volume


def diagnose(path: Path, advised: Path | None, progress: Progress = iter) -> Report:
    """Examine a path without writing anything.

    Args:
      path: a volume, a folder of patients, a prepared set or a work directory.
      advised: the recipe whose cost is estimated for data; None omits all costs.
      progress: wraps the list of patients or of loose volumes.

    Raises:
      InputError: the path does not exist, cannot be read, or holds none of these.
    """
    path = path.absolute()
    try:
        report = _diagnose(path, advised, progress)
    except PermissionError as problem:
        raise InputError(f"{problem.filename} cannot be read: check its permissions") from problem
    return report._replace(findings=tuple(_relative(f, path) for f in report.findings))


def _diagnose(path: Path, advised: Path | None, progress: Progress) -> Report:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    costs: tuple[str, ...] = ()
    if not path.is_dir() or _is_series(path):
        report, volume, kind = examine(path)
        if advised and volume is not None and kind == "MR":
            costs = _synthesis(recipe(advised), SIZE, axial_slices(volume), advised)
    # An nnU-Net data set, which has imagesTr, has a file named INDEX too.
    elif (path / INDEX).is_file() and not (path / "imagesTr").is_dir():
        report, data = examine_prepared(path, progress)
        costs = _training(advised, data.size) if advised and data else ()
    elif (path / "request.json").is_file() and (path / "cases").is_dir():
        unfinished = error("the preparation was interrupted", "give the same command again")
        report = Report(f"{path.name}: a prepared data set, unfinished", findings=(unfinished,))
    elif (path / "experiment.json").is_file():
        report, config, size = examine_workdir(path)
        costs = _synthesis(config, size, SLICES) if advised and config and size else ()
    else:
        report, slices = examine_cohort(path, progress)
        costs = _training(advised, SIZE) if advised and slices else ()
    return report._replace(costs=costs)


def _is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM slices.

    Files that do not look like DICOM, such as damaged slices or a README, count as slices only if
    the folder holds no patients or volumes of another form.
    """
    own = (INDEX, "request.json", "experiment.json")
    if any((folder / name).is_file() for name in own):
        return False
    files = slice_files(folder)
    return any(map(may_be_dicom, files)) or bool(files and not is_cohort(folder))


def _training(advised: Path, size: Sequence[int]) -> tuple[str, ...]:
    config = recipe(advised)
    cost = estimate(config, (size[0], size[1]))
    what = f"{_short(advised)} ({cost.parameters / 1e6:.3g} M parameters)"
    return (
        f"training {what} on slices of {size[0]} x {size[1]}: {cost.training(config)}",
        _basis(cost),
    )


def _synthesis(
    config: Experiment, size: Sequence[int], slices: int, advised: Path | None = None
) -> tuple[str, ...]:
    cost = estimate(config, (size[0], size[1]))
    method = build_method(config)
    draws = DRAWS if method.is_random else 1
    evaluations: float = cost.evaluations  # in a draw with one step of the sampler
    if takes_sampler(config):
        evaluations += config.sampling.fast_evaluations - 1
    if method.means is not None:  # the draws share the means, which `cost` counts in each draw
        evaluations += (1 + config.data.flip) / draws - 1
    by = f" by {_short(advised)}" if advised else ""
    what = cost.synthesis(slices, evaluations, draws)
    return (f"synthesis{by} on slices of {size[0]} x {size[1]}: {what}; {_basis(cost)}",)


def _basis(cost: Cost) -> str:
    return (
        f"estimated from the traced network, {cost.evaluation_flops / 1e9:.3g} GFLOP per slice, "
        f"and {cost.rate / 1e9:.3g} GFLOP/s measured on {parallel.describe_devices()}"
    )


def _short(recipe_file: Path) -> str:
    return "/".join(recipe_file.parts[-3:])


def _relative(finding: Finding, path: Path) -> Finding:
    """The finding with relative paths, because a folder above the given path may name a patient."""
    places = [path] if path.is_dir() else [path, path.parent]
    what, fix = finding.what, finding.fix
    for place in places:
        what, fix = (
            text.replace(f"{place}/", "").replace(str(place), place.name) for text in (what, fix)
        )
    return finding._replace(what=what, fix=fix)
