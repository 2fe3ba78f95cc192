"""Matched files read, checked and evaluated; one case that cannot be used stops no other."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.matching import CaseFiles, Matched, Refusal
from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import Row, row
from sde_ct.uncertainty.draws import evaluate_draws, spearman
from sde_ct.uncertainty.judgement import Judged, judge
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.volume import Unit, Volume, canonical, same_grid


class Evaluated(NamedTuple):
    """Of one method; `judged` holds the patients with draws."""

    rows: list[Row]
    refused: list[Refusal]
    judged: dict[str, Judged]


def evaluate_cases(
    cases: Iterable[CaseFiles], protocol: Protocol, method: str, z_slices: slice = slice(None)
) -> Evaluated:
    """`evaluate_files` of every case; one that cannot be used stops no other."""
    found = Evaluated([], [], {})
    for files in cases:
        try:
            one, judged = evaluate_files(files, protocol, method, z_slices)
        except InputError as error:
            found.refused.append(Refusal(files.name, str(error)))
        else:
            found.rows.append(one)
            found.judged.update({files.name: judged} if judged else {})
    return found


def evaluate_methods(
    matched: Mapping[str, Matched],
    protocol: Protocol,
    z_slices: slice = slice(None),
    progress: Callable[[list[CaseFiles], str], Iterable[CaseFiles]] = lambda cases, method: cases,
) -> dict[str, Evaluated]:
    """{method: what was found}, on the patients whom every method has: means over others
    do not compare.

    Args:
        progress: wraps the cases of one method, whose name is its second argument.
    """
    found = {
        method: evaluate_cases(progress(files.cases, method), protocol, method, z_slices)
        for method, files in matched.items()
    }
    common = set.intersection(*({r.patient for r in rows} for rows, *_ in found.values()))
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
            {patient: one for patient, one in judged.items() if patient in common},
        )
        for method, (rows, refused, judged) in found.items()
    }


def evaluate_files(
    files: CaseFiles, protocol: Protocol, method: str, z_slices: slice = slice(None)
) -> tuple[Row, Judged | None]:
    """Read, check and evaluate one case, and its draws where there are some.

    Args:
        z_slices: the axial slices that count, from inferior to superior; the body is outlined
            on the whole volume first.

    Raises:
        InputError: a file cannot be used, grids differ, or the slices hold no body.
    """
    ct, sct, body = read_case(files)
    mask = body.array > 0
    mask = mask[..., z_slices]
    if not mask.any():
        raise InputError(f"{files.reference} has no body in the chosen slices: choose others.")
    real, predicted = ct.array[..., z_slices], sct.array[..., z_slices]
    case = evaluate_case(protocol, real, predicted, mask)
    if files.draws:
        read = (read_on_grid(path, "HU", ct, files.reference).array for path in files.draws)
        draws = np.stack([draw[..., z_slices].astype(np.float32) for draw in read])
        known = row(method, files.name, case, uncertainty=evaluate_draws(draws, real, mask))
        return known, judge(draws, real, mask)
    correlation = None
    if files.spread:
        spread = read_on_grid(files.spread, "a.u.", ct, files.reference).array[..., z_slices]
        correlation = spearman(spread, predicted - real, mask)
    return row(method, files.name, case, spearman=correlation), None


def read_case(files: CaseFiles) -> tuple[Volume, Volume, Volume]:
    """The real CT, the prediction and the body on the CT's grid, axes closest to RAS+.

    Raises:
        InputError: a file cannot be used, grids differ, or the mask is empty.
    """
    ct = _read(files.reference, "HU")
    sct = read_on_grid(files.prediction, "HU", ct, files.reference)
    if files.mask is None:
        return ct, sct, ct_body(ct)
    mask = read_on_grid(files.mask, "mask", ct, files.reference)
    if not (mask.array > 0).any():
        raise InputError(f"{files.mask} is empty: mark the body with values above 0.")
    return ct, sct, mask


def _read(path: Path, unit: Unit) -> Volume:
    return canonical(read_volume(path, unit))


def read_on_grid(path: Path, unit: Unit, ct: Volume, reference: Path) -> Volume:
    """A volume that must lie on the grid of `ct`, which was read from `reference`."""
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


def parse_slices(text: str) -> slice:
    """A Python slice: "1::2" for every second one from the second, "" or ":" for all."""
    if not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:(-?[1-9]\d*)?)?|", text):
        raise InputError(f"z_slices '{text}' is not start:stop:step: give for example 1::2.")
    return slice(*(int(part) if part else None for part in (text or ":").split(":")))
