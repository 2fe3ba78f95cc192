"""Predictions and references on disk, matched by case and evaluated."""

import re
from dataclasses import dataclass
from pathlib import Path

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
SUFFIX = ".nii.gz"


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; where `mask` is None the reference CT gives the body."""

    name: str
    prediction: Path
    reference: Path
    mask: Path | None
    spread: Path | None


def match_cases(
    prediction: Path, reference: Path, mask: Path | None = None, spread: Path | None = None
) -> list[CaseFiles]:
    """The files of every prediction, sorted by name.

    Args:
        prediction: a folder of `<case>.nii.gz`, or one file.
        reference: the same, or any folder over SynthRAD's layout, `<case>/ct.nii.gz`.
        mask: the same, with `mask.nii.gz`. None: the `mask.nii.gz` beside the reference's
            `ct.nii.gz`, where there is one.
        spread: a folder of `<case>.nii.gz`, or one file: standard deviations of the draws.

    Raises:
        InputError: a path is missing, there is no prediction, or a prediction has no reference,
            mask or spread, or several of one.
    """
    for path in (prediction, reference, mask, spread):
        if path is not None and not path.exists():
            raise InputError(f"{path} does not exist: check the path.")
    predictions = sorted(prediction.glob(f"*{SUFFIX}")) if prediction.is_dir() else [prediction]
    if not predictions:
        raise InputError(f"{prediction} holds no predictions: it needs files <case>{SUFFIX}.")
    names = [path.name.removesuffix(SUFFIX) for path in predictions]
    references = _find_all(reference, names, "ct", "reference CT")
    masks = _find_all(mask, names, "mask", "mask") if mask else [_beside(r) for r in references]
    spreads = _find_all(spread, names, "spread", "spread") if spread else [None] * len(names)
    return [
        CaseFiles(*files)
        for files in zip(names, predictions, references, masks, spreads, strict=True)
    ]


def _find_all(place: Path, names: list[str], kind: str, title: str) -> list[Path]:
    if place.is_file():
        if len(names) > 1:
            raise InputError(
                f"{place} is one {title} for {len(names)} predictions: give the folder of all."
            )
        return [place]
    found = [_find(place, name, kind) for name in names]
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        raise InputError(
            f"{place} holds no {title} for {', '.join(missing)}: add <case>{SUFFIX} or "
            f"<case>/{kind}{SUFFIX}, or take these predictions away."
        )
    return found


def _find(place: Path, name: str, kind: str) -> Path | None:
    flat = place / f"{name}{SUFFIX}"
    if flat.is_file():
        return flat
    found = sorted(path for path in place.rglob(f"{kind}{SUFFIX}") if path.parent.name == name)
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]} are both '{name}': rename one case.")
    return found[0] if found else None


def _beside(reference: Path) -> Path | None:
    mask = reference.with_name(f"mask{SUFFIX}")
    return mask if reference.name == f"ct{SUFFIX}" and mask.is_file() else None


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
