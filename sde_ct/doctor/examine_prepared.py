"""What this package wrote: prepared sets and work directories."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sde_ct.config import Experiment, from_dict
from sde_ct.data.prepared import INDEX, Prepared, PreparedCase, read_prepared
from sde_ct.doctor import check_copies, check_names
from sde_ct.doctor.check_geometry import overlap
from sde_ct.doctor.examine_cohort import Progress
from sde_ct.doctor.examine_volume import CHECKS
from sde_ct.doctor.finding import Finding, error, refused
from sde_ct.doctor.screen import Found, Report, at
from sde_ct.errors import InputError
from sde_ct.synthesis import load
from sde_ct.volumes.volume import Unit, Volume, canonical


def prepared(folder: Path, progress: Progress) -> tuple[Report, Prepared | None]:
    """A prepared data set; None where it cannot be opened."""
    title = f"{folder.name}: a prepared data set"
    found = [*at("", check_names.named_files(folder, ()))]
    try:
        data = read_prepared(folder)
    except InputError as problem:
        found += at("", [refused(problem), *_leaks_in(folder)])
        return Report(title, found=tuple(found)), None
    marks: dict[str, dict[str, str]] = {"MR": {}, "CT": {}}
    for case in progress(list(data.cases.values())):
        volumes = _volumes(case)
        for kind, one in volumes.items():
            found += at(f"{case.id} {kind}", CHECKS[kind](one))
        found += at(case.id, overlap(volumes["MR"], volumes["CT"]))
        for kind, prints in marks.items():
            prints[case.id] = check_copies.fingerprint(volumes[kind])
    leaked = [f for prints in marks.values() for f in check_copies.leaks(data.split, prints)]
    found += at("", list(dict.fromkeys(leaked)))
    if not leaked:
        found += [
            f for kind, prints in marks.items() for f in at("", check_copies.doubled(prints, kind))
        ]
    split = ", ".join(f"{len(some)} {part}" for part, some in data.split.items())
    slices = sum(map(len, data.cases.values()))
    height, width = data.size
    facts = (
        f"source {data.source}, {len(data.cases)} patients ({split})",
        f"{slices} slices of {height} x {width}",
    )
    return Report(title, facts, tuple(found)), data


def _volumes(case: PreparedCase) -> dict[str, Volume]:
    """The slices as volumes with their spacing; their place in the patient is left out."""
    voxel = canonical(case.grid.frame).spacing
    spacing = (voxel[0] * case.grid.scale[1], voxel[1] * case.grid.scale[0], voxel[2])
    affine = np.diag([*spacing, 1.0])
    units: dict[str, tuple[str, Unit]] = {
        "MR": ("mr", "a.u."),
        "CT": ("ct", "HU"),
        "mask": ("mask", "mask"),
    }
    return {
        kind: Volume(np.asarray(case.load(name), np.float32).transpose(2, 1, 0), affine, unit)
        for kind, (name, unit) in units.items()
    }


def _leaks_in(folder: Path) -> list[Finding]:
    """Names in two splits, of an index that is otherwise refused."""
    try:
        split = json.loads((folder / INDEX).read_text("utf-8"))["split"]
        return check_copies.leaks({part: list(some) for part, some in split.items()}, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def workdir(folder: Path) -> tuple[Report, Experiment | None, tuple[int, int] | None]:
    """A work directory: the report, its configuration and its slices' size."""
    title = f"{folder.name}: a work directory"
    found = [*at("", check_names.named_files(folder, ()))]
    try:
        record = json.loads((folder / "experiment.json").read_text("utf-8"))
        config, data = from_dict(record["config"]), record["data"]
    except InputError as problem:
        return Report(title, found=(*found, Found("", refused(problem)))), None, None
    except (OSError, ValueError, KeyError, TypeError):
        damaged = error("experiment.json is damaged", "restore it or train again")
        return Report(title, found=(*found, Found("", damaged))), None, None
    facts = [_configuration(config, data)]
    try:
        trained = load(folder)
    except InputError as problem:
        found += at("", [refused(problem)])
    else:
        facts.append(f"{trained.chosen} checkpoint: step {trained.step} of {config.training.steps}")
        found += at("", _finite(trained.params))
    found += at("", _other_version(record.get("versions", {})))
    found += at("", check_copies.leaks(data.get("split", {}), {}))
    return Report(title, tuple(facts), tuple(found)), config, tuple(data["size"])


def _configuration(config: Experiment, data: dict[str, Any]) -> str:
    height, width = data["size"]
    patients = len(data.get("split", {}).get("train", ()))
    return (
        f"{config.method}, trained on {patients} patients of {data['source']}, {height} x {width}"
    )


def _finite(params: Any) -> list[Finding]:
    bad = sum(int((~np.isfinite(np.asarray(x))).sum()) for x in jax.tree.leaves(params))
    if not bad:
        return []
    return [error(f"{bad} parameters are not finite", "train again from an earlier checkpoint")]


def _other_version(stored: dict[str, str]) -> list[Finding]:
    """Another version of this package may read a checkpoint otherwise."""
    then, now = stored.get("sde-ct"), metadata.version("sde-ct")
    if then in (None, now):
        return []
    return [error(f"trained with sde-ct {then}, this is {now}", "install that version, or retrain")]
