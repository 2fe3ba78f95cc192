"""The one entry: which kind of thing a path is, its report, and what it would cost here."""

from collections.abc import Sequence
from pathlib import Path

from sde_ct.config import Experiment, recipe
from sde_ct.data.prepared import INDEX
from sde_ct.doctor import examine_prepared
from sde_ct.doctor.cost import Cost, estimate
from sde_ct.doctor.examine_cohort import Progress, raw
from sde_ct.doctor.examine_volume import examine
from sde_ct.doctor.finding import error
from sde_ct.doctor.screen import Found, Report
from sde_ct.errors import InputError
from sde_ct.methods import build_method
from sde_ct.runtime import parallel
from sde_ct.volumes.dicom.series import slice_files

UNFINISHED = Found("", error("its preparation was interrupted", "give the same command again"))
SIZE = (256, 256)  # pixels a slice that the recipe for real pelves asks for
SLICES, DRAWS = 80, 10  # of a volume that is synthesized


def diagnose(path: Path, advised: Path | None, progress: Progress = iter) -> Report:
    """The report on a path; nothing is written.

    Args:
      path: a volume, a folder of patients, a prepared set or a work directory.
      advised: the recipe whose cost is told for data; None leaves out all costs.
      progress: wraps the patients.

    Raises:
      InputError: nothing is there, or it is none of these.
    """
    path = path.absolute()
    try:
        report = _diagnose(path, advised, progress)
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its permissions") from error
    return report._replace(found=tuple(_local(found, path) for found in report.found))


def _diagnose(path: Path, advised: Path | None, progress: Progress) -> Report:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    if not path.is_dir():
        return _of_volume(path, advised)
    if (path / INDEX).is_file() and not (path / "imagesTr").is_dir():  # nnU-Net's has that name
        report, data = examine_prepared.prepared(path, progress)
        costs = _training(advised, data.size) if advised and data else ()
        return report._replace(costs=costs)
    if (path / "request.json").is_file() and (path / "cases").is_dir():
        return Report(f"{path.name}: a prepared data set, unfinished", found=(UNFINISHED,))
    if (path / "experiment.json").is_file():
        report, config, size = examine_prepared.workdir(path)
        costs = (_synthesis(config, size, SLICES),) if advised and config and size else ()
        return report._replace(costs=costs)
    if slice_files(path):
        return _of_volume(path, advised)
    report, slices = raw(path, progress)
    costs = _training(advised, SIZE) if advised and slices else ()
    return report._replace(costs=costs)


def _of_volume(path: Path, advised: Path | None) -> Report:
    report, one, kind = examine(path)
    if advised is None or one is None or kind != "MR":
        return report
    return report._replace(costs=(_synthesis(recipe(advised), SIZE, one.array.shape[2], advised),))


def _training(advised: Path, size: tuple[int, int]) -> tuple[str, ...]:
    config = recipe(advised)
    cost = estimate(config, size)
    return (
        f"training {_named(advised)} ({_million(cost)} parameters) on slices of {_size(size)}: "
        f"{cost.training(config)}",
        _machine(cost),
    )


def _synthesis(
    config: Experiment, size: tuple[int, int], slices: int, advised: Path | None = None
) -> str:
    cost = estimate(config, size)
    is_random = build_method(config).is_random
    evaluations = config.sampling.fast_evaluations if is_random else 1
    by = f" by {_named(advised)}" if advised else ""
    what = cost.synthesis(slices, evaluations, DRAWS if is_random else 1)
    return f"synthesis{by} on slices of {_size(size)}: {what}; {_machine(cost)}"


def _machine(cost: Cost) -> str:
    return (
        f"estimated from the traced network, {cost.evaluation_flops / 1e9:.3g} GFLOP a slice, and "
        f"{cost.rate / 1e9:.3g} GFLOP/s measured on {parallel.describe_devices()}"
    )


def _named(path: Path) -> str:
    return "/".join(path.parts[-3:])


def _million(cost: Cost) -> str:
    return f"{cost.parameters / 1e6:.3g} M"


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _local(found: Found, path: Path) -> Found:
    """Paths as seen from the one given: a folder above may name the patient."""
    what, mend = (
        text.replace(f"{path}/", "").replace(str(path), path.name)
        for text in (found.finding.what, found.finding.mend)
    )
    return found._replace(finding=found.finding._replace(what=what, mend=mend))
