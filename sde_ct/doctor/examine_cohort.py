"""A folder of patients as hospitals and challenges hand them out, and its report."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sde_ct.data.sources.cohorts import KINDS, Case, Patterns, Source, find_cases
from sde_ct.data.sources.walk import folders, subfolders
from sde_ct.doctor import check_copies, check_names
from sde_ct.doctor.check_geometry import overlap
from sde_ct.doctor.check_intensities import Kind
from sde_ct.doctor.examine_volume import CHECKS, attempt, examine
from sde_ct.doctor.finding import Finding
from sde_ct.doctor.screen import Found, Report, at
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.patient_names import secrets_in
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.formats import image_stem
from sde_ct.volumes.volume import Volume

Progress = Callable[[Sequence[Any]], Iterable[Any]]
Typed = tuple[Kind | None, Volume]
UNITS = {"mr": "MR", "ct": "CT", "mask": "mask"}


def layout_of(folder: Path) -> str | None:
    """The source that `prepare.py` would take a raw folder as; None where it is none of them."""
    if (folder / "imagesTr").is_dir():
        return "nnunet"
    everywhere = folders(folder)
    for source, suffix in (("synthrad2023", ".nii.gz"), ("synthrad2025", ".mha")):
        if any((p / f"mr{suffix}").is_file() and (p / f"ct{suffix}").is_file() for p in everywhere):
            return source
    if any(_is_pair(place) for place in (folder, *subfolders(folder))):
        return "pairs"
    return "gold_atlas" if any(slice_files(p) for p in everywhere[1:]) else None


def _is_pair(place: Path) -> bool:
    """Whether MR and CT are called so; slices of a flat series, mr0001.dcm and on, are none."""
    usual = Patterns()
    return all(
        any(p.is_dir() or image_stem(p) is not None for p in place.glob(pattern))
        for pattern in (usual.mr, usual.ct)
    )


def raw(folder: Path, progress: Progress) -> tuple[Report, int]:
    """A folder of patients, and how many slices they have."""
    source = layout_of(folder)
    if source is None:
        return _loose(folder, progress)
    cases = find_cases(source, folder, Patterns())
    found: list[Found] = []
    secrets: set[str] = set()
    prints: dict[str, dict[str, str]] = {"MR": {}, "CT": {}}
    spacing: dict[str, tuple[float, ...]] = {}
    slices = 0
    for case in progress(cases):
        some, volumes, words = _patient(case, folder)
        found += some
        secrets |= words
        for kind in volumes.keys() & prints.keys():
            prints[kind][case.id] = check_copies.fingerprint(volumes[kind])
        if "MR" in volumes:
            spacing[case.id] = tuple(float(s) for s in volumes["MR"].spacing)
            slices += volumes["MR"].array.shape[2]
    for kind, marks in prints.items():
        found += at("", check_copies.doubled(marks, kind))
    found += at("", check_copies.unlike(spacing))
    found += at("", check_names.named_files(folder, secrets))
    title = f"{folder.name}: raw data, {_many(len(cases), 'patient')}, --source={source}"
    facts = (*_slices(slices), *_range("voxels", spacing))
    return Report(title, facts, tuple(found), secrets=frozenset(secrets)), slices


def _patient(case: Source, root: Path) -> tuple[list[Found], dict[str, Volume], set[str]]:
    """What is wrong with one patient, the volumes that can be read, and the patient's names."""
    found: list[Found] = []
    secrets: set[str] = set()
    volumes: dict[str, Volume] = {}
    if isinstance(case, Case):
        for kind in KINDS:
            path = getattr(case, kind)
            if path is None:
                continue
            report, one, _ = examine(path, UNITS[kind])
            found += at(f"{case.id} {UNITS[kind]}", [f.finding for f in report.found])
            secrets |= report.secrets
            if one is not None:
                volumes[UNITS[kind]] = one
    else:
        patient = attempt(case.read)
        folder = root / case.id if (root / case.id).is_dir() else root
        secrets |= secrets_in(folders(folder))
        if isinstance(patient, Finding):
            return [*at(case.id, [patient]), *_unpaired(folder, root)], {}, secrets
        for kind, one in (("MR", patient.mr), ("CT", patient.ct), ("mask", patient.mask)):
            if one is not None:
                volumes[kind] = one
                found += at(f"{case.id} {kind}", CHECKS[kind](one))
    if {"MR", "CT"} <= volumes.keys():
        found += at(case.id, overlap(volumes["MR"], volumes["CT"]))
    return found, volumes, secrets


def _loose(folder: Path, progress: Progress) -> tuple[Report, int]:
    """Volumes in no layout: each for itself."""
    files = _volume_files(folder)
    if not files:
        raise InputError(
            f"{folder} holds no images and is no prepared set or workdir: check the path"
        )
    found, volumes = _each(progress(files), folder)
    found += at("", check_names.named_files(folder, ()))
    title = f"{folder.name}: {_many(len(files), 'volume')}, in no layout that prepare.py knows"
    slices = sum(one.array.shape[2] for kind, one in volumes.values() if kind == "MR")
    return Report(title, _slices(slices), tuple(found)), slices


def _volume_files(folder: Path) -> list[Path]:
    every = (path for place in folders(folder) for path in sorted(place.iterdir()))
    return [p for p in every if p.is_file() and image_stem(p) is not None]


def _each(files: Iterable[Path], root: Path) -> tuple[list[Found], dict[str, Typed]]:
    """Findings of single files, and their volumes with what kind they are."""
    found: list[Found] = []
    volumes: dict[str, Typed] = {}
    for path in files:
        name = str(path.relative_to(root))
        report, one, kind = examine(path)
        found += at(name, [f.finding for f in report.found])
        if one is not None:
            volumes[name] = kind, one
    return found, volumes


def _unpaired(folder: Path, root: Path) -> list[Found]:
    """Of a patient that cannot be taken as it is: every volume, and every CT with the only MR."""
    found, volumes = _each(_volume_files(folder), root)
    mrs = [one for kind, one in volumes.values() if kind == "MR"]
    if len(mrs) == 1:
        for name, (kind, one) in volumes.items():
            if kind == "CT":
                found += at(name, overlap(mrs[0], one))
    return found


def _slices(count: int) -> tuple[str, ...]:
    return (f"{count} slices of MR",) if count else ()


def _range(what: str, sizes: dict[str, tuple[float, ...]]) -> tuple[str, ...]:
    if not sizes:
        return ()
    ends = [" x ".join(f"{s:.3g}" for s in f(sizes.values())) for f in (min, max)]
    return (f"{what} of {ends[0]} mm" + (f" to {ends[1]} mm" if ends[0] != ends[1] else ""),)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
