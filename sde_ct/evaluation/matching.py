"""Predictions and references on disk, matched by case."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sde_ct.errors import InputError
from sde_ct.volumes.formats import image_stem, image_suffixes

KINDS = {"ct": "reference CT", "mask": "mask", "spread": "spread"}  # names in a case's folder


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; where `mask` is None the reference CT gives the body."""

    name: str
    prediction: Path
    reference: Path
    mask: Path | None
    spread: Path | None
    draws: tuple[Path, ...] = ()  # none, or at least 2


class Refusal(NamedTuple):
    """A case that has no figures, and the sentence that says why and how to mend it."""

    case: str
    reason: str


class Matched(NamedTuple):
    """The cases that have all their files, and those that do not; each sorted by name."""

    cases: list[CaseFiles]
    refused: list[Refusal]
    missing: list[Refusal]  # references without a prediction


def match_cases(
    prediction: Path,
    reference: Path,
    mask: Path | None = None,
    spread: Path | None = None,
    draws: Path | None = None,
) -> Matched:
    """The files of every prediction and every reference.

    A case is refused where a prediction has no reference, mask, spread or draws, or several of one,
    and where a reference has no prediction: a case left out may be a hard one.

    Args:
        prediction: a folder of `<case>.nii.gz`, another format, or one file.
        reference: the same, or any folder over SynthRAD's layout, `<case>/ct.nii.gz`.
        mask: the same, with `mask.nii.gz`. None: the `mask.nii.gz` beside the reference's
            `ct.nii.gz`, where there is one.
        spread: a folder of `<case>.nii.gz`, or one file: standard deviations of the draws.
        draws: a folder of `<case>_00.nii.gz`, `<case>_01.nii.gz` …, or of folders `<case>` that
            hold a case's draws and nothing else.

    Raises:
        InputError: a path is missing, there is no prediction, or one file is given for several
            predictions.
    """
    for path in (prediction, reference, mask, spread, draws):
        if path is not None and not path.exists():
            raise InputError(f"{path} does not exist: check the path.")
    if draws is not None and not draws.is_dir():
        raise InputError(f"{draws} is a file: give the folder of all draws.")
    alone = {_stem(prediction) or prediction.name: [prediction]}
    predictions = _flat(prediction) if prediction.is_dir() else alone
    if not predictions:
        raise InputError(f"{prediction} holds no predictions: it needs files <case>.nii.gz.")
    places = {"ct": reference, "mask": mask, "spread": spread}
    for kind, place in places.items():
        if place is not None and place.is_file() and len(predictions) > 1:
            raise InputError(
                f"{place} is one {KINDS[kind]} for {len(predictions)} predictions: give the folder "
                "of all."
            )
    finders = {kind: _finder(place, kind) for kind, place in places.items() if place is not None}
    draws_of = _draws_finder(draws) if draws else lambda name: ()
    cases, refused = [], []
    for name, paths in sorted(predictions.items()):
        try:
            found = {kind: find(name) for kind, find in finders.items()}
            chosen = found["mask"] if mask else _beside(found["ct"])
            one, several = _only(paths, name), draws_of(name)
        except InputError as error:
            refused.append(Refusal(name, str(error)))
        else:
            cases.append(CaseFiles(name, one, found["ct"], chosen, found.get("spread"), several))
    reason = f"{prediction} holds no prediction of it: add one, or take its CT away."
    missing = sorted(_references(reference) - set(predictions))
    return Matched(cases, refused, [Refusal(name, reason) for name in missing])


def volumes_in(place: Path) -> dict[str, Path]:
    """The volumes of one folder by their names; an `InputError` where two have one name."""
    return {name: _only(paths, name) for name, paths in _flat(place).items()}


def _stem(path: Path) -> str | None:
    """The case's name of a volume's file; None for other files, hidden ones among them."""
    return None if path.name.startswith(".") else image_stem(path)


def _flat(place: Path) -> dict[str, list[Path]]:
    """The volumes in a folder by their names."""
    return _by_name((_stem(path), path) for path in sorted(place.iterdir()))


def _nested(place: Path, kind: str) -> dict[str, list[Path]]:
    """The volumes named after their kind, at any depth, by their folders' names."""
    paths = (path for path in sorted(place.rglob(f"{kind}.*")) if _stem(path) == kind)
    return _by_name((path.parent.name, path) for path in paths)


def _by_name(pairs: Iterable[tuple[str | None, Path]]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for name, path in pairs:
        if name is not None and path.is_file():
            found.setdefault(name, []).append(path)
    return found


def _finder(place: Path, kind: str) -> Callable[[str], Path]:
    """A case's name -> its file of that kind, or an `InputError`."""
    if place.is_file():
        return lambda name: place
    nested, flat = _nested(place, kind), _flat(place)

    def find(name: str) -> Path:
        paths = flat.get(name) or nested.get(name)
        if not paths:
            raise InputError(
                f"{place} holds no {KINDS[kind]} for {name}: name it {name}.nii.gz or "
                f"{name}/{kind}.nii.gz, or take this prediction away."
            )
        return _only(paths, name)

    return find


def _draws_finder(place: Path) -> Callable[[str], tuple[Path, ...]]:
    """A case's name -> its draws, in the order of their names, or an `InputError`."""
    flat = _flat(place)

    def find(name: str) -> tuple[Path, ...]:
        pattern = re.compile(re.escape(name) + r"_\d+")
        numbered = {stem: paths for stem, paths in flat.items() if pattern.fullmatch(stem)}
        found = _flat(place / name) if (place / name).is_dir() else numbered
        if len(found) < 2:
            raise InputError(
                f"{place} holds {len(found)} draws of {name} and a spread needs 2: name them "
                f"{name}_00.nii.gz and so on, or put them into a folder {name}."
            )
        return tuple(_only(found[s], s) for s in sorted(found, key=lambda s: (len(s), s)))

    return find


def _only(paths: list[Path], name: str) -> Path:
    if len(paths) > 1:
        raise InputError(f"{paths[0]} and {paths[1]} are both '{name}': rename one case.")
    return paths[0]


def _references(place: Path) -> set[str]:
    return set() if place.is_file() else set(_nested(place, "ct") or _flat(place))


def _beside(reference: Path) -> Path | None:
    if _stem(reference) != "ct":
        return None
    masks = [reference.with_name(f"mask{suffix}") for suffix in image_suffixes()]
    return next((mask for mask in masks if mask.is_file()), None)
