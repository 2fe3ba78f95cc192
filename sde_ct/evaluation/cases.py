"""Predictions and references on disk, matched by case and evaluated."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from sde_ct.data.files import read_volume
from sde_ct.data.volume import Unit, Volume, canonical, same_grid
from sde_ct.errors import InputError
from sde_ct.evaluation.metrics import CtVolume, Mask
from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import Row, row
from sde_ct.evaluation.uncertainty import spearman

BODY_ABOVE = -400.0  # HU: half-way between air and fat, roughly
SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd")
KINDS = {"ct": "reference CT", "mask": "mask", "spread": "spread"}  # names in a case's folder


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; where `mask` is None the reference CT gives the body."""

    name: str
    prediction: Path
    reference: Path
    mask: Path | None
    spread: Path | None


class Refusal(NamedTuple):
    """A case that has no figures, and the sentence that says why and how to mend it."""

    case: str
    reason: str


class Matched(NamedTuple):
    """The cases that have all their files, and those that do not; each sorted by name."""

    cases: list[CaseFiles]
    refused: list[Refusal]
    missing: list[Refusal]  # references without a prediction


class Evaluated(NamedTuple):
    rows: list[Row]
    refused: list[Refusal]


def match_cases(
    prediction: Path, reference: Path, mask: Path | None = None, spread: Path | None = None
) -> Matched:
    """The files of every prediction and every reference.

    A case is refused where a prediction has no reference, mask or spread or several of one, and
    where a reference has no prediction: a case left out may be a hard one.

    Args:
        prediction: a folder of `<case>.nii.gz`, or another of `SUFFIXES`, or one file.
        reference: the same, or any folder over SynthRAD's layout, `<case>/ct.nii.gz`.
        mask: the same, with `mask.nii.gz`. None: the `mask.nii.gz` beside the reference's
            `ct.nii.gz`, where there is one.
        spread: a folder of `<case>.nii.gz`, or one file: standard deviations of the draws.

    Raises:
        InputError: a path is missing, there is no prediction, or one file is given for several
            predictions.
    """
    for path in (prediction, reference, mask, spread):
        if path is not None and not path.exists():
            raise InputError(f"{path} does not exist: check the path.")
    alone = {_stem(prediction) or prediction.name: [prediction]}
    predictions = _flat(prediction) if prediction.is_dir() else alone
    if not predictions:
        raise InputError(f"{prediction} holds no predictions: it needs files <case>{SUFFIXES[0]}.")
    places = {"ct": reference, "mask": mask, "spread": spread}
    for kind, place in places.items():
        if place is not None and place.is_file() and len(predictions) > 1:
            raise InputError(
                f"{place} is one {KINDS[kind]} for {len(predictions)} predictions: give the folder "
                "of all."
            )
    finders = {kind: _finder(place, kind) for kind, place in places.items() if place is not None}
    cases, refused = [], []
    for name, paths in sorted(predictions.items()):
        try:
            found = {kind: find(name) for kind, find in finders.items()}
            chosen = found["mask"] if mask else _beside(found["ct"])
            one = _only(paths, name)
        except InputError as error:
            refused.append(Refusal(name, str(error)))
        else:
            cases.append(CaseFiles(name, one, found["ct"], chosen, found.get("spread")))
    reason = f"{prediction} holds no prediction of it: add one, or take its CT away."
    missing = sorted(_references(reference) - set(predictions))
    return Matched(cases, refused, [Refusal(name, reason) for name in missing])


def _stem(path: Path) -> str | None:
    """The case's name of a volume's file; None for other files, hidden ones among them."""
    suffix = next((s for s in SUFFIXES if path.name.endswith(s)), None)
    return None if suffix is None or path.name[0] == "." else path.name.removesuffix(suffix)


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
                f"{place} holds no {KINDS[kind]} for {name}: name it {name}{SUFFIXES[0]} or "
                f"{name}/{kind}{SUFFIXES[0]}, or take this prediction away."
            )
        return _only(paths, name)

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
    masks = [reference.with_name(f"mask{suffix}") for suffix in SUFFIXES]
    return next((mask for mask in masks if mask.is_file()), None)


def evaluate_cases(
    cases: Iterable[CaseFiles], protocol: Protocol, method: str, z_slices: slice = slice(None)
) -> Evaluated:
    """`evaluate_files` of every case; one that cannot be used stops no other."""
    rows, refused = [], []
    for files in cases:
        try:
            rows.append(evaluate_files(files, protocol, method, z_slices))
        except InputError as error:
            refused.append(Refusal(files.name, str(error)))
    return Evaluated(rows, refused)


def evaluate_methods(
    matched: Mapping[str, Matched],
    protocol: Protocol,
    z_slices: slice = slice(None),
    progress: Callable[[list[CaseFiles], str], Iterable[CaseFiles]] = lambda cases, method: cases,
) -> dict[str, Evaluated]:
    """{method: its rows and refusals}, on the patients whom every method has: means over others
    do not compare.

    Args:
        progress: wraps the cases of one method, whose name is its second argument.
    """
    found = {
        method: evaluate_cases(progress(files.cases, method), protocol, method, z_slices)
        for method, files in matched.items()
    }
    common = set.intersection(*({r.patient for r in rows} for rows, _ in found.values()))
    reason = "Another method has no figures of it: mend that one, or evaluate this method alone."
    return {
        method: Evaluated(
            [r for r in rows if r.patient in common],
            [
                *matched[method].refused,
                *refused,
                *(Refusal(r.patient, reason) for r in rows if r.patient not in common),
                *matched[method].missing,
            ],
        )
        for method, (rows, refused) in found.items()
    }


def evaluate_files(
    files: CaseFiles, protocol: Protocol, method: str, z_slices: slice = slice(None)
) -> Row:
    """Read, check and evaluate one case.

    Args:
        z_slices: the axial slices that count, from inferior to superior; the body is outlined
            on the whole volume first.

    Raises:
        InputError: a file cannot be used, grids differ, or the slices hold no body.
    """
    ct = _read(files.reference, "HU")
    sct = _read_on_grid(files.prediction, "HU", ct, files.reference)
    if files.mask:
        mask = _read_on_grid(files.mask, "mask", ct, files.reference).array > 0
        if not mask.any():
            raise InputError(f"{files.mask} is empty: mark the body with values above 0.")
    else:
        mask = body_from_ct(ct.array)
    mask = mask[..., z_slices]
    if not mask.any():
        raise InputError(f"{files.reference} has no body in the chosen slices: choose others.")
    real, predicted = ct.array[..., z_slices], sct.array[..., z_slices]
    correlation = None
    if files.spread:
        spread = _read_on_grid(files.spread, "a.u.", ct, files.reference).array[..., z_slices]
        correlation = spearman(spread, predicted - real, mask)
    case = evaluate_case(protocol, real, predicted, mask)
    return row(method, files.name, case, spearman=correlation)


def _read(path: Path, unit: Unit) -> Volume:
    return canonical(read_volume(path, unit))


def _read_on_grid(path: Path, unit: Unit, ct: Volume, reference: Path) -> Volume:
    volume = _read(path, unit)
    if not same_grid(volume, ct):
        raise InputError(
            f"{path} ({_grid(volume)}) lies on another grid than {reference} ({_grid(ct)}): "
            "resample one onto the other."
        )
    return volume


def _grid(volume: Volume) -> str:
    shape = " x ".join(map(str, volume.array.shape))
    spacing = " x ".join(f"{step:.4g}" for step in volume.spacing)
    origin = ", ".join(f"{x:.4g}" for x in volume.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm at {origin}"


def body_from_ct(ct: CtVolume) -> Mask:
    """The largest component above `BODY_ABOVE` HU, with every axial slice's holes filled."""
    labels, count = ndimage.label(ct > BODY_ABOVE)
    if count == 0:
        return np.zeros(ct.shape, bool)
    body = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(body, -1, 0)], -1)


def parse_slices(text: str) -> slice:
    """A Python slice: "1::2" for every second one from the second, "" or ":" for all."""
    if not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:(-?[1-9]\d*)?)?|", text):
        raise InputError(f"z_slices '{text}' is not start:stop:step: give for example 1::2.")
    return slice(*(int(part) if part else None for part in (text or ":").split(":")))
