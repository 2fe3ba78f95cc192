"""The table of cohort layouts: where the MR, CT and mask of every patient lie.

A new source is a function that returns the patients below a folder, and a row of `SOURCES`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sde_ct.data.contrasts import SINGLE, file_name, names_of
from sde_ct.data.sources import nnunet
from sde_ct.data.sources.gold_atlas import find_atlas
from sde_ct.data.sources.patient import (
    Patient,
    Source,
    Unusable,
    folders,
    is_empty,
    stamp_of,
    subfolders,
)
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.frames import slices_of
from sde_ct.volumes.dicom.grouping import by_series, listed
from sde_ct.volumes.dicom.patient_names import secrets_in, withhold
from sde_ct.volumes.dicom.series import Series, require_same_frame, slice_files
from sde_ct.volumes.dicom.slice import is_beside, may_be_dicom, read_header
from sde_ct.volumes.files import files_of, open_source, read_mask, read_mr, read_volume
from sde_ct.volumes.formats import image_stem

KINDS = ("mr", "ct", "mask")
Files = Mapping[str, Path | None]  # of one patient, by kind


@dataclass(frozen=True)
class Case:
    """The files of one patient; `mask` is None where the body outline is to be computed."""

    id: str
    mr: Path  # a file, or a folder that holds one DICOM series
    ct: Path
    mask: Path | None
    contrasts: tuple[str, ...] = SINGLE  # the names of the MR contrasts; the first is `mr`
    further: tuple[Path, ...] = ()  # the others
    choices: tuple[Choice, ...] = ()  # of the MR's images, by DICOM tags

    @property
    def files(self) -> dict[str, Path | None]:
        others = zip(map(file_name, self.contrasts[1:]), self.further, strict=True)
        return {kind: getattr(self, kind) for kind in KINDS} | dict(others)

    def read(self) -> Patient:
        """The volumes as they are in the files.

        Raises InputError as `read_volume`, or where DICOM places contrasts in different frames.
        """
        sources = {
            kind: open_source(path, self.choices if kind == "mr" else ())
            for kind, path in self.files.items()
            if path
        }
        warnings = {k: s.warnings for k, s in sources.items() if isinstance(s, Series)}
        mr = sources["mr"]
        for contrast in (sources[file_name(name)] for name in self.contrasts[1:]):
            if isinstance(contrast, Series) and isinstance(mr, Series):
                require_same_frame(contrast, mr)
        return Patient(
            mr=read_mr(mr),
            ct=read_volume(sources["ct"], "HU"),
            mask=read_mask(sources["mask"]) if self.mask else None,
            files=self.files,
            further={name: read_mr(sources[file_name(name)]) for name in self.contrasts[1:]},
            facts={
                "sha256": {kind: sha256(*files_of(s)) for kind, s in sources.items()},
                **({"contrasts": list(self.contrasts)} if self.further else {}),
                **({"patient_position": mr.position} if isinstance(mr, Series) else {}),
            },
            warnings=tuple(f"{k.upper()}: {w}" for k, some in warnings.items() for w in some),
        )

    def stamp(self) -> str:
        """A text that changes when a file, the name of a contrast or a choice changes."""
        names = f" {' '.join(self.contrasts)}" if self.further else ""
        return stamp_of(self.files.values()) + names + "".join(f" {k}={v}" for k, v in self.choices)

    def clean(self, text: str) -> str:
        """A text without the names and IDs in DICOM files, except the name of the case."""
        paths = [path for path in self.files.values() if path]
        return withhold(text, secrets_in({p if p.is_dir() else p.parent for p in paths}), self.id)


@dataclass(frozen=True)
class Patterns:
    """Glob patterns of file or folder names, relative to a patient's; no mask where empty."""

    mr: str = "mr*"
    ct: str = "ct*"
    mask: str = ""
    further: tuple[str, ...] = ()  # of the other MR contrasts
    choices: tuple[Choice, ...] = ()  # of the MR's images, by DICOM tags


def find_cases(
    source: str, folder: str | os.PathLike, patterns: Patterns, *, t1: bool = False
) -> list[Source]:
    """All patients below `folder`, sorted by name; one with missing files is refused when read.

    Args:
      source: a row of `SOURCES`.
      folder: the input folder.
      patterns: for "pairs".
      t1: for "gold_atlas": keep the T1 too.

    Raises:
      InputError: there is no such folder, it holds no patients, or two have one name.
    """
    folder = Path(folder).absolute()
    if source not in SOURCES:
        raise InputError(f"source {source!r} is unknown: use {', '.join(SOURCES)}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: check the input path")
    return SOURCES[source](folder, patterns, t1)


def _named(suffix: str) -> Callable[[Path, Patterns, bool], list[Source]]:
    """SynthRAD's layout: any folder, however deep, with mr, ct and perhaps mask + `suffix`."""

    def find(folder: Path, patterns: Patterns, t1: bool) -> list[Source]:
        exact = Patterns(*(f"{kind}{suffix}" for kind in KINDS))  # type: ignore[arg-type]
        names = (exact.mr, exact.ct)
        places = [p for p in folders(folder) if any(os.path.lexists(p / name) for name in names)]
        return _in_places(folder, places, exact)

    return find


def _pairs(folder: Path, patterns: Patterns, t1: bool) -> list[Source]:
    """Volumes that `patterns` match, directly in `folder` (one patient) or in a folder each."""

    def matches(place: Path) -> list[Path]:
        return [p for pattern in (patterns.mr, patterns.ct) for p in _matches(place, pattern)]

    # A folder of NIfTI files with the name mr01 is a patient and no MR.
    places = [folder]
    if not any(path.is_file() or slice_files(path) for path in matches(folder)):
        places = subfolders(folder)
        if any(matches(place) for place in places):  # others were meant to be patients too
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
        _case(name, files, contrasts, [files[file_name(other)] for other in contrasts[1:]])
        for name, files in found.items()
    ]


def _in_places(folder: Path, places: list[Path], patterns: Patterns) -> list[Source]:
    """A patient for each place, whose files have the names in `patterns`."""
    if not places:
        raise InputError(f"{folder} holds no patients: no file matches {patterns.mr!r}")
    first: dict[str, Path] = {}
    cases: list[Source] = []
    contrasts = names_of((patterns.mr, *patterns.further)) if patterns.further else SINGLE
    for place in places:
        if (other := first.setdefault(place.name, place)) is not place:
            raise InputError(f"{other} and {place} have the same name: rename one patient")
        try:
            files = {kind: _one(place, kind, getattr(patterns, kind)) for kind in KINDS}
            further = tuple(_one(place, "mr", pattern) for pattern in patterns.further)
            case = _case(place.name, files, contrasts, further)
            cases.append(
                replace(case, choices=patterns.choices) if isinstance(case, Case) else case
            )
        except InputError as error:
            cases.append(Unusable(place.name, str(error)))
    return cases


def _case(
    name: str, files: Files, contrasts: tuple[str, ...], further: Sequence[Path | None]
) -> Source:
    """The case of these files and further contrasts, or the reason why there is none."""
    mr, ct = files["mr"], files["ct"]
    if mr is None or ct is None:
        return Unusable(name, f"{name} has no {'MR' if mr is None else 'CT'}: add the file")
    if mr == ct:
        return Unusable(name, f"{mr} matches as MR and as CT: fix the patterns")
    for contrast, path in zip(contrasts[1:], further, strict=True):
        if path is None:
            return Unusable(name, f"{name} has no {contrast}: add the file")
        if path in (mr, ct):
            return Unusable(name, f"{path} matches as {contrast} and as MR or CT: fix the patterns")
    return Case(name, mr, ct, files["mask"], contrasts, tuple(path for path in further if path))


def _one(place: Path, kind: str, pattern: str) -> Path | None:
    """The only match in a patient's folder, or one of the files of the only series that matches.

    Raises InputError for several, or if one is missing.
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
                f"{place / strangers[0]} matches {pattern!r} and is not NIfTI, MetaImage or DICOM: "
                "convert it to .nii.gz"
            )
        raise InputError(
            f"{place} holds no {kind.upper()} that matches {pattern!r}: "
            "add the file or fix the pattern"
        )
    return paths[0] if paths else None


def _one_series(place: Path, kind: str, pattern: str, paths: list[Path]) -> list[Path]:
    """One of the DICOM files, which stands for them all. InputError where they are not one series.

    A file that cannot be read stands for its series too: reading it reports what is wrong.
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
    """A volume by its name, a file that begins as DICOM does, or a folder that holds files."""
    if path.is_dir():
        return any(f.is_file() for f in path.iterdir())
    return path.is_file() and (image_stem(path) is not None or may_be_dicom(path))


def _holds_volumes(place: Path) -> bool:
    """Whether volumes are in a folder, whatever their names."""
    inside = [path for path in place.iterdir() if not path.name.startswith(".")]
    return any(slice_files(p) if p.is_dir() else _may_be_a_volume(p) for p in inside)
