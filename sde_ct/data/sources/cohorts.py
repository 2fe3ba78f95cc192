"""Where the MR, CT and mask of every patient lie, for each layout of files."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sde_ct.data.sources import nnunet
from sde_ct.data.sources.gold_atlas import find_atlas
from sde_ct.data.sources.patient import Patient, Source, Unusable, stamp_of
from sde_ct.data.sources.walk import folders, is_empty, subfolders
from sde_ct.errors import InputError
from sde_ct.storage.digest import sha256
from sde_ct.volumes.dicom.patient_names import secrets_in, withhold
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import may_be_dicom
from sde_ct.volumes.files import files_of, read_volume
from sde_ct.volumes.formats import image_stem

SOURCES = ("phantom", "pairs", "synthrad2023", "synthrad2025", "nnunet", "gold_atlas")
KINDS = ("mr", "ct", "mask")


@dataclass(frozen=True)
class Case:
    """The files of one patient; `mask` is None where the body outline is to be computed."""

    id: str
    mr: Path  # a file, or a folder that holds one DICOM series
    ct: Path
    mask: Path | None

    def read(self) -> Patient:
        """The volumes as they are in the files. Raises InputError as `read_volume`."""
        files = {"mr": self.mr, "ct": self.ct, "mask": self.mask}
        return Patient(
            mr=read_volume(self.mr, "a.u."),
            ct=read_volume(self.ct, "HU"),
            mask=read_volume(self.mask, "mask") if self.mask else None,
            files=files,
            facts={
                "sha256": {kind: sha256(*files_of(path)) for kind, path in files.items() if path}
            },
        )

    def stamp(self) -> str:
        """Differs when a file has changed."""
        return stamp_of((self.mr, self.ct, self.mask))

    def clean(self, text: str) -> str:
        """A text without the names and IDs of DICOM files, but for what the case is called."""
        paths = [path for path in (self.mr, self.ct, self.mask) if path]
        return withhold(text, secrets_in({p if p.is_dir() else p.parent for p in paths}), self.id)


@dataclass(frozen=True)
class Patterns:
    """Glob patterns of file or folder names, relative to a patient's; no mask where empty."""

    mr: str = "mr*"
    ct: str = "ct*"
    mask: str = ""


def find_cases(
    source: str, folder: str | os.PathLike, patterns: Patterns, *, t1: bool = False
) -> list[Source]:
    """All patients below `folder`, sorted by name; one without its files says so when read.

    Args:
      source: "synthrad2023", or "phantom", which has the same layout: any folder, however deep,
        with `mr.nii.gz`, `ct.nii.gz` and, where there is one, `mask.nii.gz`. "synthrad2025": the
        same with `.mha`. "pairs": volumes that `patterns` find, directly in `folder` (one patient)
        or in one folder a patient; NIfTI, MetaImage, or DICOM (the folder or a file of a series).
        "nnunet": see `nnunet.find`. "gold_atlas": one folder of DICOM files a patient.
      folder: the input folder.
      patterns: for "pairs".
      t1: for "gold_atlas": keep the T1 too.

    Raises:
      InputError: no such folder, no patients, or two of one name.
    """
    folder = Path(folder).absolute()
    if source not in SOURCES:
        raise InputError(f"source {source!r} is unknown: use {', '.join(SOURCES)}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: check the input path")
    if source == "gold_atlas":
        return find_atlas(folder, t1=t1)
    if source == "nnunet":
        return [_checked(name, lambda f=files: f) for name, files in nnunet.find(folder).items()]  # type: ignore[misc]
    if source == "pairs":
        places = _patient_folders(folder, patterns)
    else:
        suffix = ".mha" if source == "synthrad2025" else ".nii.gz"
        patterns = Patterns(f"mr{suffix}", f"ct{suffix}", f"mask{suffix}")
        names = (patterns.mr, patterns.ct)
        places = [p for p in folders(folder) if any(os.path.lexists(p / name) for name in names)]
    if not places:
        raise InputError(f"{folder} holds no patients: no file matches {patterns.mr!r}")
    _require_distinct(places)
    cases = [_checked(place.name, lambda p=place: _files(p, patterns)) for place in places]  # type: ignore[misc]
    asked = source == "pairs" and patterns.mask
    if asked and not any(isinstance(case, Case) and case.mask for case in cases):
        raise InputError(f"{folder} holds no mask that matches {patterns.mask!r}: mend the pattern")
    return cases


def _checked(name: str, files: Callable[[], dict[str, Path | None]]) -> Source:
    """The case of the files, or the reason why there is none."""
    try:
        found = files()
        for kind in ("mr", "ct"):
            if found[kind] is None:
                raise InputError(f"{name} has no {kind.upper()}: add the file")
        if found["mr"] == found["ct"]:
            raise InputError(f"{found['mr']} matches as MR and as CT: mend the patterns")
    except InputError as error:
        return Unusable(name, str(error))
    return Case(name, found["mr"], found["ct"], found.get("mask"))  # type: ignore[arg-type]


def _patient_folders(folder: Path, patterns: Patterns) -> list[Path]:
    """The folder itself or those in it, also such as were meant to be a patient's."""

    def found(place: Path) -> list[Path]:
        return [p for pattern in (patterns.mr, patterns.ct) for p in _matches(place, pattern)]

    # A folder of NIfTI files called mr01 is a patient, no MR.
    if any(path.is_file() or slice_files(path) for path in found(folder)):
        return [folder]
    places = subfolders(folder)
    if not any(found(place) for place in places):
        return []
    return [p for p in places if found(p) or is_empty(p) or _holds_volumes(p)]


def _holds_volumes(place: Path) -> bool:
    """Whether volumes are in a folder, whatever they are called."""
    inside = [path for path in place.iterdir() if not path.name.startswith(".")]
    return any(slice_files(p) if p.is_dir() else _may_be_a_volume(p) for p in inside)


def _files(place: Path, patterns: Patterns) -> dict[str, Path | None]:
    found = {kind: _one(place, kind, getattr(patterns, kind)) for kind in KINDS}
    for kind in ("mr", "ct"):
        if found[kind] is None:
            raise InputError(
                f"{place} holds no {kind.upper()} that matches {getattr(patterns, kind)!r}: "
                "add the file or mend the pattern"
            )
    return found


def _one(place: Path, kind: str, pattern: str) -> Path | None:
    found = _matches(place, pattern) if pattern else []
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:8])
        raise InputError(f"{place}: {names} all match {pattern!r}: name one as --{kind}")
    return found[0] if found else None


def _matches(place: Path, pattern: str) -> list[Path]:
    try:
        found = sorted(path for path in place.glob(pattern) if not path.name.startswith("."))
    except (ValueError, NotImplementedError, IndexError) as error:
        raise InputError(f"pattern {pattern!r} is not usable: give a relative glob") from error
    return [path for path in found if _may_be_a_volume(path)]


def _may_be_a_volume(path: Path) -> bool:
    """A volume by its name, a file that begins as DICOM does, or a folder that holds files."""
    if path.is_dir():
        return any(f.is_file() for f in path.iterdir())
    return path.is_file() and (image_stem(path) is not None or may_be_dicom(path))


def _require_distinct(places: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for place in places:
        other = seen.setdefault(place.name, place)
        if other is not place:
            raise InputError(f"{other} and {place} have the same name: rename one patient")
