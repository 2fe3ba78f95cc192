"""Read, check and evaluate matched files; a case that cannot be used does not stop the others."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.matching import CaseFiles, Matched, Refusal
from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import Row
from sde_ct.uncertainty.judgement import Judged, judge
from sde_ct.uncertainty.scores import spearman
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.volume import Unit, Volume, canonical, reordered, same_grid


class Evaluated(NamedTuple):
    """The results of one method; `judged` has the patients with draws."""

    rows: list[Row]
    refused: list[Refusal]
    judged: dict[str, Judged]


def evaluate_methods(
    matched: Mapping[str, Matched],
    protocol: Protocol,
    z_slices: slice = slice(None),
    progress: Callable[[list[CaseFiles], str], Iterable[CaseFiles]] = lambda cases, method: cases,
) -> dict[str, Evaluated]:
    """{method: results} for the patients that every method has, so that means can be compared.

    Args:
        progress: wraps the cases of one method, whose name is its second argument.
    """
    results = {
        method: _evaluate_cases(progress(files.cases, method), protocol, method, z_slices)
        for method, files in matched.items()
    }
    common = set.intersection(*({r.patient for r in rows} for rows, *_ in results.values()))
    reason = "Another method has no figures for it: fix that one, or evaluate this method alone."
    for method, (rows, refused, judged) in results.items():
        alone = [Refusal(r.patient, reason) for r in rows if r.patient not in common]
        results[method] = Evaluated(
            [r for r in rows if r.patient in common],
            [*matched[method].refused, *refused, *alone, *matched[method].missing],
            {patient: one for patient, one in judged.items() if patient in common},
        )
    return results


def _evaluate_cases(
    cases: Iterable[CaseFiles], protocol: Protocol, method: str, z_slices: slice
) -> Evaluated:
    results = Evaluated([], [], {})
    for files in cases:
        try:
            row, judged = evaluate_files(files, protocol, method, z_slices)
        except InputError as error:
            results.refused.append(Refusal(files.name, str(error)))
        else:
            results.rows.append(row)
            results.judged.update({files.name: judged} if judged else {})
    return results


def evaluate_files(
    files: CaseFiles, protocol: Protocol, method: str, z_slices: slice = slice(None)
) -> tuple[Row, Judged | None]:
    """Read, check and evaluate one case, and its draws if there are any.

    Args:
        z_slices: the axial slices that count, from inferior to superior; the body is outlined
            on the whole volume first.

    Raises:
        InputError: a file cannot be used, grids differ, or the slices contain no body.
    """
    ct, sct, body = read_case(files)
    real, predicted, mask = (v.array[..., z_slices] for v in (ct, sct, body))
    if not (mask > 0).any():
        raise InputError(f"{files.reference} has no body in the chosen slices: choose others.")

    def chosen(path: Path, unit: Unit) -> np.ndarray:
        return read_on_grid(path, unit, ct, files.reference).array[..., z_slices]

    figures: dict[str, float | None] = {**evaluate_case(protocol, real, predicted, mask)}
    if files.draws:
        draws = np.stack([chosen(path, "HU").astype(np.float32) for path in files.draws])
        judged = judge(draws, real, mask)
        return Row(method, files.name, figures | judged.figures), judged
    if files.spread:
        spread, inside = chosen(files.spread, "a.u."), mask > 0
        figures["spearman"] = spearman(spread[inside], (predicted - real)[inside])
    return Row(method, files.name, figures), None


def read_case(files: CaseFiles) -> tuple[Volume, Volume, Volume]:
    """The real CT, the prediction and the body on the CT's grid, axes closest to RAS+.

    Raises:
        InputError: a file cannot be used, grids differ, or the mask is empty.
    """
    ct = canonical(read_volume(files.reference, "HU"))
    sct = read_on_grid(files.prediction, "HU", ct, files.reference)
    if files.mask is None:
        return ct, sct, ct_body(ct)
    mask = read_on_grid(files.mask, "mask", ct, files.reference)
    if mask.array.all():
        raise InputError(f"{files.mask} marks every voxel: mark the body alone, or give no mask.")
    if not (mask.array > 0).any():
        raise InputError(f"{files.mask} is empty: mark the body with values above 0.")
    return ct, sct, mask


def read_on_grid(path: Path, unit: Unit, ct: Volume, reference: Path) -> Volume:
    """A volume that must lie on the grid of `ct`, which was read from `reference`."""
    volume = reordered(read_volume(path, unit), ct.affine)
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
