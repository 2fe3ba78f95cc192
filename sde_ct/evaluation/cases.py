"""Read, check and evaluate matched files. A case that cannot be used stops no other case."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.errors import InputError
from sde_ct.evaluation.columns import UNMEASURED
from sde_ct.evaluation.matching import CaseFiles, Matched, Refusal
from sde_ct.evaluation.protocols import Protocol, evaluate_case
from sde_ct.evaluation.table import Row
from sde_ct.uncertainty.judgement import Judged, judge
from sde_ct.uncertainty.scores import spearman
from sde_ct.volumes.field_of_view import measured
from sde_ct.volumes.files import read_any, read_volume
from sde_ct.volumes.hounsfield import ORIGINAL, fault
from sde_ct.volumes.masks import CtVolume, Mask
from sde_ct.volumes.on_grid import on_grid, read_on_grid
from sde_ct.volumes.overlap import ct_body
from sde_ct.volumes.volume import Volume, canonical

ROUNDED = 1.0  # HU by which files of rounded draws and of their rounded mean may differ


class Evaluated(NamedTuple):
    """The results of one method; `judged` holds the patients with draws."""

    rows: list[Row]
    refused: list[Refusal]
    judged: dict[str, Judged]
    doubts: dict[str, str]  # by patient, why the prediction or its draws may be wrong


class EvaluatedCase(NamedTuple):
    """The results of one method on one patient."""

    row: Row
    judged: Judged | None  # None without draws
    doubt: str  # why the prediction or its draws may be wrong; empty without a doubt


class DrawnCase(NamedTuple):
    """A case with draws. Arrays hold the chosen slices; `ct` is the whole real CT."""

    ct: Volume
    z_slices: slice
    draws: Float[np.ndarray, "m x y z"]  # HU
    real: CtVolume
    body: Mask
    measured: Mask  # where the real CT was measured


Further = Callable[[CaseFiles, Judged, DrawnCase], Judged]  # adds scores to those of `judge`


def evaluate_methods(
    matched: Mapping[str, Matched],
    protocol: Protocol,
    z_slices: slice = slice(None),
    progress: Callable[[list[CaseFiles], str], Iterable[CaseFiles]] = lambda cases, method: cases,
    *,
    further: Further | None = None,
) -> dict[str, Evaluated]:
    """Evaluate every method, and keep only patients for whom all methods have figures.

    The means of the methods are therefore comparable.

    Args:
        progress: wraps the cases of one method, whose name is its second argument.
        further: as for `evaluate_files`.
    """
    results = {
        method: _evaluate_cases(progress(files.cases, method), protocol, method, z_slices, further)
        for method, files in matched.items()
    }
    common = set.intersection(*({r.patient for r in rows} for rows, *_ in results.values()))
    reason = (
        "Another method has no figures for this case: correct the files of that method, or "
        "evaluate this method alone."
    )
    for method, (rows, refused, judged, doubts) in results.items():
        alone = [Refusal(r.patient, reason) for r in rows if r.patient not in common]
        results[method] = Evaluated(
            [r for r in rows if r.patient in common],
            [*matched[method].refused, *refused, *alone, *matched[method].missing],
            {patient: one for patient, one in judged.items() if patient in common},
            {patient: doubt for patient, doubt in doubts.items() if patient in common},
        )
    return results


def _evaluate_cases(
    cases: Iterable[CaseFiles],
    protocol: Protocol,
    method: str,
    z_slices: slice,
    further: Further | None,
) -> Evaluated:
    results = Evaluated([], [], {}, {})
    for files in cases:
        try:
            row, judged, doubt = evaluate_files(files, protocol, method, z_slices, further)
        except InputError as error:
            results.refused.append(Refusal(files.name, str(error)))
        else:
            results.rows.append(row)
            results.judged.update({files.name: judged} if judged else {})
            results.doubts.update({files.name: doubt} if doubt else {})
    return results


def evaluate_files(
    files: CaseFiles,
    protocol: Protocol,
    method: str,
    z_slices: slice = slice(None),
    further: Further | None = None,
) -> EvaluatedCase:
    """Read, check and evaluate one case, with its draws if there are any.

    `doubt` names the first prediction or draw that does not look like HU, or else a prediction that
    is not the mean of the draws. The case still counts, because a method must not gain if its worst
    cases drop out. A reference that is not in HU is refused.

    Args:
        z_slices: the axial slices to evaluate, from inferior to superior. The body is outlined
            on the whole volume first. Voxels that the real CT did not measure never count as wrong.
        further: adds scores, such as those of `Planning`, to the scores of the draws.

    Raises:
        InputError: a file cannot be used, grids differ, or the slices contain no body that the
            real CT measured.
    """
    ct, sct, body = read_case(files)
    seen = measured(ct, body if files.mask else None)[..., z_slices]
    real, predicted, whole = (v.array[..., z_slices] for v in (ct, sct, body))
    mask = (whole > 0) & seen
    if not mask.any():
        raise InputError(
            f"{files.reference} has no body in the chosen slices: choose other slices."
        )

    # Unmeasured voxels count as exact if a protocol scores whole slices.
    predicted = np.where(seen, predicted, real)
    figures: dict[str, float | None] = {**evaluate_case(protocol, real, predicted, mask)}
    if share := 1 - float(mask.sum() / (whole > 0).sum()):
        figures[UNMEASURED.name] = 100 * share
    doubt = _doubt(files.prediction, sct)
    if files.draws:
        draws = []
        for path in files.draws:
            draw = on_grid(path, read_sct(path), ct, files.reference)
            doubt = doubt or _doubt(path, draw)
            draws.append(draw.array[..., z_slices].astype(np.float32))
        drawn = DrawnCase(ct, z_slices, np.stack(draws), real, whole > 0, seen)
        doubt = doubt or _other_draws(files, drawn.draws, sct.array[..., z_slices], mask)
        judged = judge(drawn.draws, real, mask)
        judged = further(files, judged, drawn) if further else judged
        return EvaluatedCase(Row(method, files.name, figures | judged.figures), judged, doubt)
    if files.spread:
        spread = read_on_grid(files.spread, "a.u.", ct, files.reference).array[..., z_slices]
        if spread.min() < 0:
            raise InputError(f"{files.spread} holds values below 0: give standard deviations.")
        figures["spearman"] = spearman(spread[mask], (predicted - real)[mask])
    return EvaluatedCase(Row(method, files.name, figures), None, doubt)


def _doubt(path: Path, sct: Volume) -> str:
    problem = fault(sct)
    if problem is None:
        return ""
    fix = "give it in HU" if problem.fix == ORIGINAL else problem.fix
    return (
        f"{path} may not be in HU (values {sct.array.min():g} to {sct.array.max():g}): "
        f"{problem.what}. Its figures count without a correction; if the units are wrong, {fix}."
    )


def _other_draws(
    files: CaseFiles,
    draws: Float[np.ndarray, "m x y z"],
    predicted: Float[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"],
) -> str:
    """A doubt if the prediction is not the mean of the draws, else an empty text."""
    apart = float(np.abs(draws.mean(axis=0) - predicted)[mask].mean())
    if apart <= ROUNDED:
        return ""
    return (
        f"{files.prediction} differs by {apart:.1f} HU on average from the mean of the "
        f"{len(draws)} draws in {files.draws[0].parent}: give all draws of this prediction."
    )


def read_case(files: CaseFiles) -> tuple[Volume, Volume, Volume]:
    """The real CT, the prediction and the body on the CT's grid, with axes closest to RAS+.

    Raises:
        InputError: a file cannot be used, grids differ, or the mask marks no voxel or every voxel.
    """
    ct = canonical(read_volume(files.reference, "HU"))
    sct = on_grid(files.prediction, read_sct(files.prediction), ct, files.reference)
    if files.mask is None:
        return ct, sct, ct_body(ct)
    mask = read_on_grid(files.mask, "mask", ct, files.reference)
    if mask.array.all():
        raise InputError(f"{files.mask} marks every voxel: mark the body alone, or give no mask.")
    if not (mask.array > 0).any():
        raise InputError(f"{files.mask} is empty: mark the body with values above 0.")
    return ct, sct, mask


def read_sct(path: Path) -> Volume:
    """Read a synthetic CT in HU without checking that its values look like HU."""
    volume = read_any(path, "CT")
    return volume.with_array(volume.array, "HU")
