"""The report on a folder of patients that a hospital or a challenge provides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.data.sources.case_files import Case
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.data.sources.patient import Source
from sde_ct.doctor.check_copies import check_copies, check_spacings, fingerprint
from sde_ct.doctor.check_geometry import check_alignment, millimetres
from sde_ct.doctor.check_names import check_names
from sde_ct.doctor.examine_volume import attempt, axial_slices, check_volume, examine
from sde_ct.doctor.finding import Finding, Report, at
from sde_ct.errors import InputError
from sde_ct.storage.folders import folders, subfolders
from sde_ct.volumes.dicom.patient_names import secrets_in
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.formats import image_stem
from sde_ct.volumes.volume import Volume, canonical

Progress = Callable[[Sequence[Any]], Iterable[Any]]
# Name on the screen, path, and kind (MR, CT or mask; None if unknown).
Item = tuple[str, Path, str | None]
LABELS = {"mr": "MR", "ct": "CT", "mask": "mask"}


class Patient(NamedTuple):
    """The findings on one patient, the readable volumes by kind, and names and IDs."""

    findings: list[Finding]
    volumes: Mapping[str, Volume]
    secrets: frozenset[str]


def layout_of(folder: Path) -> str | None:
    """The --source that `prepare.py` needs for a folder; None if no layout fits."""
    if (folder / "imagesTr").is_dir():
        return "nnunet"
    everywhere = folders(folder)
    pairs = [place for place in (folder, *subfolders(folder)) if _is_pair(place)]
    for source, suffix in (("synthrad2023", ".nii.gz"), ("synthrad2025", ".mha")):
        named = [p for p in everywhere if all((p / f"{k}{suffix}").is_file() for k in ("mr", "ct"))]
        others = {*pairs} - {*named}  # patients whose files have names that this source misses
        if named and not others:
            return source
    if pairs:
        return "pairs"
    return "gold_atlas" if any(slice_files(p) for p in everywhere[1:]) else None


def is_cohort(folder: Path) -> bool:
    """Whether a folder has a known layout, or holds volumes that are not DICOM."""
    return layout_of(folder) is not None or bool(_images(folder, folder))


def _is_pair(place: Path) -> bool:
    """Whether MR and CT have the usual names; slices such as mr0001.dcm do not count."""
    return all(
        any(p.is_dir() or image_stem(p) is not None for p in place.glob(pattern))
        for pattern in (Patterns().mr, Patterns().ct)
    )


def examine_cohort(folder: Path, progress: Progress) -> tuple[Report, int]:
    """The report on a folder of patients, and the number of their MR slices."""
    source = layout_of(folder)
    if source is None:
        return _loose(folder, progress)
    findings: list[Finding] = []
    secrets: set[str] = set()
    prints: dict[str, dict[str, str]] = {"MR": {}, "CT": {}}
    spacings: dict[str, np.ndarray] = {}
    slices = 0
    cases = find_cases(source, folder, Patterns())
    for case in progress(cases):
        patient = _files(case) if isinstance(case, Case) else _read(case, folder)
        findings += patient.findings
        secrets |= patient.secrets
        volumes = patient.volumes
        for kind in volumes.keys() & prints.keys():
            prints[kind][case.id] = fingerprint(volumes[kind])
        if "MR" in volumes:
            spacings[case.id] = canonical(volumes["MR"]).spacing
            slices += axial_slices(volumes["MR"])
        if {"MR", "CT"} <= volumes.keys():
            findings += at(case.id, check_alignment(volumes["MR"], volumes["CT"]))
    for kind, marks in prints.items():
        findings += check_copies(marks, kind)
    findings += [*check_spacings(spacings), *check_names(folder, secrets)]
    title = f"{folder.name}: raw data, {_count(len(cases), 'patient')}, --source={source}"
    facts: tuple[str, ...] = ()
    if slices:
        ends = dict.fromkeys(millimetres(end(spacings.values(), key=tuple)) for end in (min, max))
        facts = (f"{slices} slices of MR", f"voxels of {' to '.join(ends)}")
    return Report(title, facts, tuple(findings), secrets=frozenset(secrets)), slices


def _files(case: Case) -> Patient:
    """Examine a patient with one file or series per volume."""
    paths = {kind: getattr(case, name) for name, kind in LABELS.items()}
    findings, volumes, secrets = _examined(
        (f"{case.id} {kind}", path, kind) for kind, path in paths.items() if path
    )
    return Patient(findings, dict(volumes.values()), secrets)


def _read(case: Source, root: Path) -> Patient:
    """Examine a patient whose files must be read together, as `prepare.py` reads them."""
    patient = attempt(case.read)
    folder = root / case.id if (root / case.id).is_dir() else root
    secrets = secrets_in(folders(folder))
    if isinstance(patient, Finding):
        return Patient([*at(case.id, [patient]), *_unpaired(folder, root)], {}, secrets)
    volumes = {
        kind: volume
        for name, kind in LABELS.items()
        if (volume := getattr(patient, name)) is not None
    }
    findings = [
        finding
        for kind, volume in volumes.items()
        for finding in at(f"{case.id} {kind}", check_volume(volume, kind))
    ]
    return Patient(findings, volumes, secrets)


def _unpaired(folder: Path, root: Path) -> list[Finding]:
    """Examine each volume of an unreadable patient, apart from DICOM.

    The CTs are compared with the MR if there is exactly one MR.
    """
    findings, volumes, _ = _examined(_images(folder, root))
    mrs = [volume for kind, volume in volumes.values() if kind == "MR"]
    for name, (kind, volume) in volumes.items():
        if kind == "CT" and len(mrs) == 1:
            findings += at(name, check_alignment(mrs[0], volume))
    return findings


def _loose(folder: Path, progress: Progress) -> tuple[Report, int]:
    """Examine each volume of a folder that has no known layout."""
    images = _images(folder, folder)
    if not images:
        raise InputError(
            f"{folder} holds no images and is not a prepared set or work directory: check the path"
        )
    findings, volumes, _ = _examined(progress(images))
    findings += check_names(folder, ())
    title = f"{folder.name}: {_count(len(images), 'volume')}, in no layout that prepare.py knows"
    slices = sum(axial_slices(volume) for kind, volume in volumes.values() if kind == "MR")
    facts = (f"{slices} slices of MR",) if slices else ()
    return Report(title, facts, tuple(findings)), slices


def _images(folder: Path, root: Path) -> list[Item]:
    every = (path for place in folders(folder) for path in sorted(place.iterdir()))
    images = (p for p in every if p.is_file() and image_stem(p) is not None)
    return [(str(p.relative_to(root)), p, None) for p in images]


def _examined(
    items: Iterable[Item],
) -> tuple[list[Finding], dict[str, tuple[str, Volume]], frozenset[str]]:
    """The findings, {name on the screen: (kind, volume)} of readable volumes, and the secrets."""
    findings: list[Finding] = []
    volumes: dict[str, tuple[str, Volume]] = {}
    secrets: frozenset[str] = frozenset()
    for where, path, kind in items:
        examined = examine(path, kind)
        findings += at(where, examined.report.findings)
        secrets |= examined.report.secrets
        if examined.volume is not None and examined.kind:
            volumes[where] = examined.kind, examined.volume
    return findings, volumes, secrets


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
