"""Where the MR, CT and mask of every patient lie, for each kind of source."""

import os
from dataclasses import dataclass
from pathlib import Path

from sde_ct.data.phantom import write_cohort
from sde_ct.errors import InputError

SOURCES = ("phantom", "pairs", "synthrad2023")


@dataclass(frozen=True)
class Case:
    """The files of one patient; `mask` is None where the body outline is to be computed."""

    id: str
    mr: Path
    ct: Path
    mask: Path | None


@dataclass(frozen=True)
class Patterns:
    """Glob patterns of file names, relative to a patient's folder; an empty mask means none."""

    mr: str = "mr*.nii*"
    ct: str = "ct*.nii*"
    mask: str = ""


def find_cases(source: str, folder: str | os.PathLike, patterns: Patterns) -> list[Case]:
    """All patients below `folder`, sorted by name.

    Args:
      source: "synthrad2023", or "phantom", which has the same layout: any folder, however deep,
        with `mr.nii.gz`, `ct.nii.gz` and, where there is one, `mask.nii.gz`. Or "pairs": files
        that `patterns` find, directly in `folder` (one patient) or in one folder a patient.
      folder: the input folder.
      patterns: for "pairs".

    Raises:
      InputError: no such folder, no patients, a file missing, or several that match a pattern.
    """
    folder = Path(folder).absolute()
    if source not in SOURCES:
        raise InputError(f"source {source!r} is unknown: use {', '.join(SOURCES)}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: check the input path")
    if source == "pairs":
        places = _patient_folders(folder, patterns)
    else:
        patterns = Patterns("mr.nii.gz", "ct.nii.gz", "mask.nii.gz")
        places = sorted({p.parent for name in ("mr", "ct") for p in folder.rglob(f"{name}.nii.gz")})
    cases = [_case(place, patterns) for place in places]
    if not cases:
        raise InputError(f"{folder} holds no patients: no file matches {patterns.mr!r}")
    if source == "pairs" and patterns.mask and all(case.mask is None for case in cases):
        raise InputError(f"{folder} holds no mask that matches {patterns.mask!r}: mend the pattern")
    _require_distinct(cases)
    return cases


def phantom_cases(folder: str | os.PathLike, patients: int, seed: int, **options) -> list[Case]:
    """Patients 1 to `patients` of a phantom cohort; those that are absent are generated.

    Args:
      folder: the cohort's; patients of the same request that are there already stay as they are.
      options: of `write_cohort`: shape, spacing, prior, progress.

    Raises:
      InputError: the folder holds something else, or the request is out of range.
    """
    written = {place.absolute() for place in write_cohort(Path(folder), patients, seed, **options)}
    return [c for c in find_cases("phantom", folder, Patterns()) if c.mr.parent in written]


def _patient_folders(folder: Path, patterns: Patterns) -> list[Path]:
    def holds(place: Path) -> bool:
        return any(_matches(place, pattern) for pattern in (patterns.mr, patterns.ct))

    if holds(folder):
        return [folder]
    return [place for place in sorted(folder.iterdir()) if place.is_dir() and holds(place)]


def _matches(place: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in place.glob(pattern) if path.is_file())
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"pattern {pattern!r} is not usable: give a relative glob") from error


def _case(place: Path, patterns: Patterns) -> Case:
    found = {
        kind: _one(place, kind, pattern) for kind, pattern in vars(patterns).items() if pattern
    }
    for kind in ("mr", "ct"):
        if found.get(kind) is None:
            raise InputError(
                f"{place} holds no {kind.upper()} that matches {getattr(patterns, kind)!r}: "
                "add the file or mend the pattern"
            )
    return Case(place.name, found["mr"], found["ct"], found.get("mask"))


def _one(place: Path, kind: str, pattern: str) -> Path | None:
    found = _matches(place, pattern)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{place}: {names} all match {pattern!r}: name one as --{kind}")
    return found[0] if found else None


def _require_distinct(cases: list[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        other = seen.setdefault(case.id, case)
        if other is not case:
            raise InputError(
                f"{other.mr.parent} and {case.mr.parent} have the same name: rename one patient"
            )
        if case.mr == case.ct:
            raise InputError(f"{case.mr} matches as MR and as CT: mend the patterns")
