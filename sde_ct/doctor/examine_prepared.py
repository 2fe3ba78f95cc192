"""The reports on prepared data sets and work directories, which this package wrote."""

from functools import partial
from pathlib import Path

import jax
import numpy as np

from sde_ct.acceptance import reference
from sde_ct.config import Experiment
from sde_ct.data.dataset import finite
from sde_ct.data.prepared import CASES, INDEX, Prepared, read_prepared
from sde_ct.doctor.check_copies import check_copies, check_split, fingerprint
from sde_ct.doctor.check_geometry import check_alignment
from sde_ct.doctor.check_intensities import check_intensities
from sde_ct.doctor.check_names import check_names
from sde_ct.doctor.examine_cohort import LABELS, Progress
from sde_ct.doctor.examine_volume import attempt
from sde_ct.doctor.finding import Finding, Report, at, error, refused, warning
from sde_ct.errors import InputError
from sde_ct.methods.decomposition import has_draws
from sde_ct.storage.versions import versions
from sde_ct.storage.whole import read_json
from sde_ct.synthesis import load
from sde_ct.synthesis.correction import read_calibration
from sde_ct.training.experiment import read_experiment
from sde_ct.uncertainty import recalibration
from sde_ct.volumes.volume import Volume

NO_VALIDATION = warning(
    "there are no validation patients: no checkpoint is known to be the best, the spread of draws "
    "is set on training patients, and calibrate and accept --fit have no patients to fit on",
    "prepare again with --validation=0.1 or with the names of patients",
)

UNLISTED = warning(
    f"the patient's folder in {CASES} is not in {INDEX}, so that training leaves the patient out",
    "if report.json says why the patient was refused, mend the files; then prepare all patients "
    "again, or remove the folder",
)


def examine_prepared(folder: Path, progress: Progress) -> tuple[Report, Prepared | None]:
    """The report on a prepared data set, and the data set, or None if it cannot be opened."""
    title = f"{folder.name}: a prepared data set"
    findings = check_names(folder, ())
    try:
        data = read_prepared(folder)
    except InputError as problem:
        findings += [refused(problem), *_shared_names(folder)]
        return Report(title, findings=tuple(findings)), None
    prints: dict[str, dict[str, str]] = {"MR": {}, "CT": {}}
    for case in progress(list(data.cases.values())):
        volumes: dict[str, Volume] = {}
        for name, kind in LABELS.items():
            volume = attempt(partial(case.volume, name))
            if isinstance(volume, Finding):
                found = [volume]
            else:
                volumes[kind], found = volume, check_intensities(volume, kind)
            findings += at(f"{case.id} {kind}", found)
        slices = [attempt(partial(finite, case, name, slice(None))) for name in case.mrs]
        findings += at(case.id, [one for one in slices if isinstance(one, Finding)])
        if {"MR", "CT"} <= volumes.keys():
            findings += at(case.id, check_alignment(volumes["MR"], volumes["CT"]))
        for kind in volumes.keys() & prints.keys():
            prints[kind][case.id] = fingerprint(volumes[kind])
    shared = [f for marks in prints.values() for f in check_split(data.split, marks)]
    findings += dict.fromkeys(shared)
    if not shared:
        findings += [f for kind, marks in prints.items() for f in check_copies(marks, kind)]
    findings += _unlisted(data)
    if not data.split["validation"]:
        findings.append(NO_VALIDATION)
    split = ", ".join(f"{len(names)} {part}" for part, names in data.split.items())
    height, width = data.size
    facts = (
        f"source {data.source}, {len(data.cases)} patients ({split})",
        f"{sum(map(len, data.cases.values()))} slices of {height} x {width}",
    )
    return Report(title, facts, tuple(findings)), data


def _unlisted(data: Prepared) -> list[Finding]:
    """Report patients' folders that the index does not list."""
    folders = [p.name for p in (data.folder / CASES).iterdir() if p.is_dir()]
    names = sorted(n for n in folders if n not in data.cases and not n.startswith("."))
    return [finding for name in names for finding in at(name, [UNLISTED])]


def _shared_names(folder: Path) -> list[Finding]:
    """Report patients in two parts of the split of a data set that `read_prepared` refused."""
    try:
        split = read_json(folder / INDEX)["split"]
        return list(check_split({part: list(names) for part, names in split.items()}, {}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def examine_workdir(folder: Path) -> tuple[Report, Experiment | None, tuple[int, int] | None]:
    """The report on a work directory, and the configuration and slice size (h, w) if readable."""
    title = f"{folder.name}: a work directory"
    findings = check_names(folder, ())
    try:
        config, data = read_experiment(folder)
    except InputError as problem:
        findings.append(refused(problem))
        return Report(title, findings=tuple(findings)), None, None
    height, width = data["size"]
    source = data.get("source", "an unknown source")
    patients = f"{len(data['split']['train'])} patients of {source}"
    facts = [f"{config.method}, trained on {patients}, {height} x {width}"]
    trained = attempt(lambda: load(folder))
    if isinstance(trained, Finding):
        findings.append(trained)
    else:
        facts.append(f"{trained.chosen} checkpoint: step {trained.step} of {config.training.steps}")
        leaves = map(np.asarray, jax.tree.leaves(trained.params))
        if not has_draws(trained.params):
            what = "the denoiser is not trained yet, so there are no draws"
            findings.append(warning(what, "train longer, or synthesize with --sampler=mean"))
        elif bad := sum(int((~np.isfinite(leaf)).sum()) for leaf in leaves):
            what = f"{bad} parameters are not finite"
            findings.append(error(what, "train again from an earlier checkpoint"))
    readers = {reference.NAME: reference.read, recalibration.NAME: read_calibration}
    fitted = [
        attempt(partial(read, folder / name))
        for name, read in readers.items()
        if (folder / name).exists()
    ]
    findings += [one for one in fitted if isinstance(one, Finding)]
    # Another version of this package may read a checkpoint differently.
    recorded = read_json(folder / "experiment.json").get("versions")
    then = recorded.get("sde-ct") if isinstance(recorded, dict) else None
    now, unknown = versions()["sde-ct"], (None, "not installed")
    if then not in (now, *unknown) and now not in unknown:
        what = f"trained with sde-ct {then}, but this is {now}"
        findings.append(error(what, "install that version, or train again"))
    findings += check_split(data["split"], {})
    return Report(title, tuple(facts), tuple(findings)), config, (height, width)
