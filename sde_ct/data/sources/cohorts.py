"""The table of cohort layouts, which say where the MR, CT and mask of every patient are.

To add a source, write a function that returns the patients below a folder, and add a row to
`SOURCES`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sde_ct.data.contrasts import SINGLE, file_name, names_of
from sde_ct.data.sources import nnunet
from sde_ct.data.sources.case_files import KINDS, Case, Files, case_of
from sde_ct.data.sources.gold_atlas import find_atlas
from sde_ct.data.sources.patient import Source, Unusable
from sde_ct.errors import InputError
from sde_ct.storage.folders import folders, is_empty, is_path, subfolders
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.frames import slices_of
from sde_ct.volumes.dicom.grouping import by_series, listed
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import is_beside, may_be_dicom, read_header
from sde_ct.volumes.formats import either_format, image_stem


@dataclass(frozen=True)
class Patterns:
    """Glob patterns of names relative to a patient's folder; an empty `mask` means none."""

    mr: str = "mr*"
    ct: str = "ct*"
    mask: str = ""
    further: tuple[str, ...] = ()  # patterns of the other MR contrasts
    choices: tuple[Choice, ...] = ()  # values of DICOM tags that select the MR's images


def find_cases(
    source: str, folder: str | os.PathLike, patterns: Patterns, *, t1: bool = False
) -> list[Source]:
    """All patients below `folder`, sorted.

    Patients with missing files, or with names that are paths, are refused when they are read.

    Args:
      source: a row of `SOURCES`.
      folder: the input folder.
      patterns: names of files or folders, for "pairs".
      t1: keep the T1 too, for "gold_atlas".

    Raises:
      InputError: there is no such source or folder, the folder holds no patients or none with a
        mask for `patterns.mask`, or two patients have the same name.
    """
    folder = Path(folder).absolute()
    if source not in SOURCES:
        raise InputError(f"source {source!r} is unknown: use {', '.join(SOURCES)}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: check the input path")
    return [_nameable(case) for case in SOURCES[source](folder, patterns, t1)]


def _nameable(case: Source) -> Source:
    """The case; refused if its name can't be that of a folder on every system."""
    if not is_path(case.id):
        return case
    return Unusable(
        case.id,
        f"the patient's name {case.id} is a path on some systems: rename the patient's folder or "
        "files without backslash and colon",
    )


def _named(suffix: str) -> Callable[[Path, Patterns, bool], list[Source]]:
    """SynthRAD's layout: folders at any depth with mr, ct and perhaps mask, all with `suffix`."""

    def find(folder: Path, patterns: Patterns, t1: bool) -> list[Source]:
        exact = Patterns(*(f"{kind}{suffix}" for kind in KINDS))  # type: ignore[arg-type]
        names = (exact.mr, exact.ct)
        places = [p for p in folders(folder) if any(os.path.lexists(p / name) for name in names)]
        return _in_places(folder, places, exact)

    return find


def _pairs(folder: Path, patterns: Patterns, t1: bool) -> list[Source]:
    """Volumes that match `patterns`, directly in `folder` (one patient) or in its subfolders."""

    def matches(place: Path) -> list[Path]:
        return [p for pattern in (patterns.mr, patterns.ct) for p in _matches(place, pattern)]

    # A folder with the name mr01 that holds NIfTI files is a patient, not an MR.
    places = [folder]
    if not any(path.is_file() or slice_files(path) for path in matches(folder)):
        places = subfolders(folder)
        # Subfolders that are empty or hold other volumes were probably meant to be patients.
        if any(matches(place) for place in places):
            places = [p for p in places if matches(p) or is_empty(p) or _holds_volumes(p)]
        else:
            places = []
    cases = _in_places(folder, places, patterns)
    if patterns.mask and not any(isinstance(case, Case) and case.mask for case in cases):
        raise InputError(f"{folder} holds no mask that matches {patterns.mask!r}: fix the pattern")
    return cases


SOURCES: dict[str, Callable[[Path, Patterns, bool], list[Source]]] = {
    "phantom": _named(".nii.gz"),
    "pairs": _pairs,
    "synthrad2023": _named(".nii.gz"),
    "synthrad2025": _named(".mha"),
    "nnunet": lambda folder, patterns, t1: _nnunet(*nnunet.find(folder)),
    "gold_atlas": lambda folder, patterns, t1: find_atlas(folder, t1=t1),
}


def _nnunet(contrasts: tuple[str, ...], found: Mapping[str, Files]) -> list[Source]:
    return [
        case_of(name, files, contrasts, [files[file_name(other)] for other in contrasts[1:]])
        for name, files in found.items()
    ]


def _in_places(folder: Path, places: list[Path], patterns: Patterns) -> list[Source]:
    """A patient for each folder in `places`, with the files that match `patterns`."""
    if not places:
        raise InputError(
            f"{folder} holds no patients, because no file matches {patterns.mr!r}: "
            "launch/doctor.py says which --source fits"
        )
    first: dict[str, Path] = {}
    cases: list[Source] = []
    contrasts = names_of((patterns.mr, *patterns.further)) if patterns.further else SINGLE
    for place in places:
        if (other := first.setdefault(place.name, place)) is not place:
            raise InputError(f"{other} and {place} have the same name: rename one patient")
        try:
            files = {kind: _one(place, kind, getattr(patterns, kind)) for kind in KINDS}
            further = tuple(_one(place, "mr", pattern) for pattern in patterns.further)
            case = case_of(place.name, files, contrasts, further)
            cases.append(
                replace(case, choices=patterns.choices) if isinstance(case, Case) else case
            )
        except InputError as error:
            cases.append(Unusable(place.name, str(error)))
    return cases


def _one(place: Path, kind: str, pattern: str) -> Path | None:
    """The only matching file or folder in a patient's folder, or a file of the only DICOM series.

    Raises InputError if there are several matches, or if none matches a required kind.
    """
    paths = _matches(place, pattern) if pattern else []
    if len(paths) > 1 and all(path.is_file() and not image_stem(path) for path in paths):
        paths = _one_series(place, kind, pattern, paths)
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths[:8])
        raise InputError(f"{place}: {names} all match {pattern!r}: name one as --{kind}")
    if not paths and kind != "mask":
        if strangers := [p.name for p in place.glob(pattern) if p.is_file() and p.name[0] != "."]:
            raise InputError(
                f"{place / strangers[0]} matches {pattern!r} and is not {either_format()}: "
                "convert it to .nii.gz"
            )
        raise InputError(
            f"{place} holds no {kind.upper()} that matches {pattern!r}: "
            "add the file or fix the pattern"
        )
    return paths[0] if paths else None


def _one_series(place: Path, kind: str, pattern: str, paths: list[Path]) -> list[Path]:
    """One DICOM file, which represents its series.

    A file that cannot be read is returned, so that reading it reports the fault. Raises InputError
    if the files are not one series.
    """
    images = []
    for path in paths:
        try:
            header = read_header(path)
            if not is_beside(header, path):
                images += slices_of(header, path)
        except InputError:
            return [path]
    series = by_series(images)
    if len(series) > 1:
        raise InputError(
            f"{place} holds {len(series)} series that match {pattern!r} ({listed(series)}): "
            f"give a pattern of one of them, or one file, as --{kind}"
        )
    return [some[0].file for some in series]


def _matches(place: Path, pattern: str) -> list[Path]:
    try:
        paths = sorted(path for path in place.glob(pattern) if not path.name.startswith("."))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise InputError(f"pattern {pattern!r} is not usable: give a relative glob") from error
    return [path for path in paths if _may_be_a_volume(path)]


def _may_be_a_volume(path: Path) -> bool:
    """Whether a path has the name of a volume, begins like DICOM, or is a folder with files."""
    if path.is_dir():
        return any(f.is_file() for f in path.iterdir())
    return path.is_file() and (image_stem(path) is not None or may_be_dicom(path))


def _holds_volumes(place: Path) -> bool:
    """Whether a folder holds volumes of any name."""
    inside = [path for path in place.iterdir() if not path.name.startswith(".")]
    return any(slice_files(p) if p.is_dir() else _may_be_a_volume(p) for p in inside)
