"""Match predictions and references on disk by case."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sde_ct.errors import InputError
from sde_ct.storage.folders import folders
from sde_ct.volumes.formats import image_suffixes
from sde_ct.volumes.named import files_by_name, only, stem_of

# Names of files in a case's folder, and their words and flags in messages.
KINDS = {"ct": "reference CT", "mask": "mask", "spread": "spread"}
FLAGS = {"ct": "reference", "mask": "mask", "spread": "spread"}


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; if `mask` is None, the reference CT gives the body."""

    name: str
    prediction: Path
    reference: Path
    mask: Path | None
    spread: Path | None
    draws: tuple[Path, ...] = ()  # either none or at least 2


class Refusal(NamedTuple):
    """A case that cannot be evaluated, and a sentence with the reason and the remedy."""

    case: str
    reason: str


class Matched(NamedTuple):
    """The complete and the incomplete cases, sorted by name."""

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
    """Find the files of every prediction and every reference.

    A prediction is refused if its reference, mask, spread or draws are missing or ambiguous. A
    reference without a prediction is listed as missing, because the method may have failed on it.

    Args:
        prediction: a folder of `<case>.nii.gz` or of files in another format, or one file.
        reference: a folder or file in the same form, or any folder above SynthRAD's layout,
            `<case>/ct.nii.gz`.
        mask: in the same form as `reference`, with `mask.nii.gz` instead of `ct.nii.gz`. If None,
            the `mask.nii.gz` beside the reference's `ct.nii.gz` is used, if there is one.
        spread: standard deviations of the draws, in the same form with `spread.nii.gz`.
        draws: a folder of `<case>_00.nii.gz`, `<case>_01.nii.gz` …, or of folders `<case>` that
            contain the draws of that case and nothing else.

    Raises:
        InputError: a path is missing, `draws` is a file, there is no prediction, or one file is
            given for several predictions.
    """
    flags = {"prediction": prediction, "reference": reference, "mask": mask}
    for flag, path in (flags | {"spread": spread, "draws": draws}).items():
        if path is not None and not path.exists():
            raise InputError(f"--{flag}={path} does not exist: check the path.")
    if draws is not None and not draws.is_dir():
        raise InputError(f"--draws={draws} is a file: give the folder of all draws.")
    alone = {stem_of(prediction) or prediction.name: [prediction]}
    predictions = files_by_name(prediction) if prediction.is_dir() else alone
    if not predictions:
        raise InputError(
            f"--prediction={prediction} holds no predictions: it needs files <case>.nii.gz."
        )
    given = {"ct": reference, "mask": mask, "spread": spread}
    places = {kind: place for kind, place in given.items() if place is not None}
    for kind, place in places.items():
        if place.is_file() and len(predictions) > 1:
            raise InputError(
                f"--{FLAGS[kind]}={place} is one {KINDS[kind]} for {len(predictions)} predictions: "
                "give a folder with one for each."
            )
    indexes = {k: _nested(p, k) | files_by_name(p) for k, p in places.items() if p.is_dir()}
    all_draws = files_by_name(draws) if draws else {}
    cases, refused = [], []
    for name, paths in sorted(predictions.items()):
        try:
            files = {k: _file_of(name, k, p, indexes.get(k)) for k, p in places.items()}
            own_mask = files["mask"] if mask else _mask_beside(files["ct"])
            own_draws = _draws_of(name, draws, all_draws) if draws else ()
            one, ct, own_spread = only(paths, name), files["ct"], files.get("spread")
            cases.append(CaseFiles(name, one, ct, own_mask, own_spread, own_draws))
        except InputError as error:
            refused.append(Refusal(name, str(error)))
    references = _nested(reference, "ct") or files_by_name(reference) if reference.is_dir() else {}
    reason = (
        f"{prediction} has no prediction for this patient: add one, or remove the patient's CT "
        "from the reference."
    )
    missing = [Refusal(name, reason) for name in sorted(set(references) - set(predictions))]
    return Matched(cases, refused, missing)


def _nested(place: Path, kind: str) -> dict[str, list[Path]]:
    """The files of a kind at any depth, such as ct.nii.gz, by the names of their folders."""
    volumes: dict[str, list[Path]] = {}
    for folder in folders(place):
        for path in sorted(folder.glob(f"{kind}.*")):
            if path.is_file() and stem_of(path) == kind:
                volumes.setdefault(folder.name, []).append(path)
    return volumes


def _file_of(name: str, kind: str, place: Path, index: dict[str, list[Path]] | None) -> Path:
    """The case's file of one kind. It is `place` if this is a file, whose `index` is None."""
    if index is None:
        return place
    if name not in index:
        raise InputError(
            f"--{FLAGS[kind]}={place} holds no {KINDS[kind]} for {name}: name it {name}.nii.gz or "
            f"{name}/{kind}.nii.gz, or remove this prediction."
        )
    return only(index[name], name)


def _draws_of(name: str, place: Path, index: dict[str, list[Path]]) -> tuple[Path, ...]:
    """The case's draws in the order of their numbers."""
    pattern = re.compile(re.escape(name) + r"_\d+")
    numbered = {stem: paths for stem, paths in index.items() if pattern.fullmatch(stem)}
    draws = files_by_name(place / name) if (place / name).is_dir() else numbered
    if len(draws) < 2:
        raise InputError(
            f"--draws={place} holds {len(draws)} draws of {name}, but a spread needs 2: name them "
            f"{name}_00.nii.gz and so on, or put them into a folder {name}."
        )
    return tuple(only(draws[s], s) for s in sorted(draws, key=lambda s: (len(s), s)))


def _mask_beside(ct: Path) -> Path | None:
    masks = [ct.with_name(f"mask{suffix}") for suffix in image_suffixes() if stem_of(ct) == "ct"]
    return next((mask for mask in masks if mask.is_file()), None)
