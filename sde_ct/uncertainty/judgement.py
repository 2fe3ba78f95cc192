"""All scores of the draws, per patient and over patients, and `uncertainty.json`.

Tissues are classified in the real CT or, with "shown" before their name, in the mean of the draws.
In bone of the real CT, even calibrated draws are less dense on average, because these voxels were
selected by their outcome (Lerch et al., Stat. Sci. 32(1), 2017). Judge calibration over all voxels
or by shown tissues, which are known without a CT. Compare samplers by either kind of tissue.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.uncertainty import averaging, scores, summed
from sde_ct.uncertainty.averaging import ErrorByDraws
from sde_ct.uncertainty.draws import collapse_warning, moments
from sde_ct.uncertainty.intervals import LEVEL, Interval, bootstrap_interval, caveat
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.scores import Draws, Voxels
from sde_ct.uncertainty.structures import StructureMean
from sde_ct.uncertainty.summed import SpreadError
from sde_ct.uncertainty.sums import Sums, judge_sums
from sde_ct.uncertainty.text import aligned
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

NAME = "uncertainty.json"
ELSEWHERE = ("figures", "ranges", "notes")  # held by metrics.csv, rays.json, `warnings`
OVERCONFIDENT = 0.5  # spread-skill; a spread below this share of the error gives a warning


class Calibration(NamedTuple):
    """The scores of the draws over some voxels of one patient, as `scores` defines them."""

    ranks: scores.RankHistogram
    coverage: scores.Coverage
    spread_skill: float
    crps: float
    ence: float
    bins: scores.SpreadBins
    sparsification: scores.Sparsification
    ause: float


class Judged(NamedTuple):
    """The scores of one patient's draws.

    Attributes:
        figures: over the body, as in metrics.csv: `spearman`, `spread_skill`, `crps` and
            `spread`, the mean standard deviation, HU.
        by_tissue: for `all` voxels, for `air`, `soft` and `bone` in the real CT, and for `shown
            air` and so on in the mean. Tissues with fewer than `scores.BINS` voxels are absent.
        warning: a sentence if the spread tells little about the error, else None.
        sums: scores of sums over voxels.
        structures: mean HU of structures by name.
        ranges: path lengths to a target; they are not in `uncertainty.json`.
        notes: further sentences on what was not measured.
    """

    figures: dict[str, float]
    draws: int
    by_tissue: dict[str, Calibration]
    by_draws: ErrorByDraws
    warning: str | None
    sums: Sums
    structures: Mapping[str, StructureMean] = {}
    ranges: TargetRanges | None = None
    notes: tuple[str, ...] = ()


class OverPatients(NamedTuple):
    """One figure over the patients for whom it is finite."""

    mean: float
    interval: Interval
    patients: int


class JudgedMethod(NamedTuple):
    """The scores of one method's draws: over patients by tissue and figure, and per patient."""

    over_patients: dict[str, dict[str, OverPatients]]
    error_by_draws: ErrorByDraws
    sums: dict[str, float]  # medians over patients
    structures: dict[str, SpreadError]
    patients: dict[str, Judged]


Judgements = Mapping[str, JudgedMethod]  # by method


def judge(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> Judged:
    """Score the draws of one patient.

    Args:
        draws: M >= 2 synthetic CTs, HU.
        ct: the real CT, HU.
        mask: above 0 where a voxel counts; it must have at least `scores.BINS` such voxels.

    Raises:
        InputError: fewer than 2 draws or `scores.BINS` voxels, or `judge_sums` refuses the mask.
    """
    mask = as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
    scores.require_voxels(int(mask.sum()))
    sums = judge_sums(draws, ct, mask)
    draws, ct = np.stack([draw[mask] for draw in draws]), ct[mask]
    mean, variance = moments(draws)
    spread, error = np.sqrt(variance), mean - ct
    shown = {f"shown {name}": part for name, part in tissues(mean).items()}
    kinds = {"all": np.ones(ct.shape, bool), **tissues(ct), **shown}
    by_tissue = {
        name: _calibration(draws[:, part], ct[part], spread[part], error[part])
        for name, part in kinds.items()
        if part.sum() >= scores.BINS
    }
    figures = {
        "spearman": scores.spearman(spread, error),
        "spread_skill": by_tissue["all"].spread_skill,
        "crps": by_tissue["all"].crps,
        "spread": float(spread.mean()),
    }
    warning = _warning(figures["spread"], figures["spread_skill"], len(draws))
    by_draws = averaging.error_by_draws(draws, ct)
    return Judged(figures, len(draws), by_tissue, by_draws, warning, sums)


def _calibration(draws: Draws, ct: Voxels, spread: Voxels, error: Voxels) -> Calibration:
    ranks, m = scores.rank_histogram(draws, ct), len(draws)
    skill, crps = scores.spread_skill(spread, error, m), scores.fair_crps(draws, ct)
    bins, curve = scores.spread_bins(spread, error, m), scores.sparsification(spread, error)
    coverage = scores.coverage(ranks)
    return Calibration(ranks, coverage, skill, crps, bins.ence, bins, curve, curve.ause)


def _warning(spread: float, skill: float, draws: int) -> str | None:
    if (collapsed := collapse_warning(spread, draws)) or not skill < OVERCONFIDENT:
        return collapsed
    return (
        f"The spread of the {draws} draws is {skill:.0%} of their error: they agree with one "
        "another more than with the CT."
    )


def over_patients(patients: Mapping[str, Judged]) -> JudgedMethod:
    """Means and 95 % intervals over the patients of one method, by tissue.

    `range_coverage` is the share of voxels within the range of all draws.
    """
    means: dict[str, dict[str, OverPatients]] = {}
    cases = [judged.by_tissue for judged in patients.values()]
    for tissue in dict.fromkeys(name for case in cases for name in case):
        present = [case[tissue] for case in cases if tissue in case]
        columns = {
            name: [getattr(one, name) for one in present]
            for name in ("spread_skill", "crps", "ence", "ause")
        }
        columns["range_coverage"] = [one.coverage.observed[0] for one in present]
        for name, column in columns.items():
            if values := [float(v) for v in column if np.isfinite(v)]:
                interval = bootstrap_interval(values)
                figure = OverPatients(float(np.mean(values)), interval, len(values))
                means.setdefault(tissue, {})[name] = figure
    by_draws = averaging.over_patients([judged.by_draws for judged in patients.values()])
    sums = summed.medians([judged.sums for judged in patients.values()])
    structures = summed.of_structures([judged.structures for judged in patients.values()])
    return JudgedMethod(means, by_draws, sums, structures, dict(patients))


def warnings(judgements: Judgements) -> list[str]:
    """Sentences on patients whose spread cannot be trusted, or whose measurement is incomplete."""
    return [
        f"{method}, {patient}: {sentence}"
        for method, of_method in judgements.items()
        for patient, judged in of_method.patients.items()
        for sentence in (*filter(None, [judged.warning]), *judged.notes)
    ]


def record(judgements: Judgements) -> dict[str, Any]:
    """The content of `uncertainty.json`: the fields of `JudgedMethod` for each method.

    In a coverage, `nominal` is the share of voxels that the intervals of calibrated draws hold.
    """
    patients = {patient for of_method in judgements.values() for patient in of_method.patients}
    return {
        "methods": _plain(judgements),
        "interval_level": LEVEL,
        "warnings": warnings(judgements),
        "caveat": caveat(len(patients)),
    }


def _plain(value: Any) -> Any:
    """NamedTuples become objects and arrays become lists; an interval is a list of two bounds."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Interval):
        return list(value)
    if isinstance(value, StructureMean):
        return {name: getattr(value, name) for name in ("mean", "spread", "ct", "error", "voxels")}
    if hasattr(value, "_asdict"):
        value = {name: v for name, v in value._asdict().items() if name not in ELSEWHERE}
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Mapping) else value


def nominal(judgements: Judgements) -> float | None:
    """The share of voxels that the range of M calibrated draws covers, (M - 1) / (M + 1).

    None where patients have different numbers of draws.
    """
    draws = {one.draws for of_method in judgements.values() for one in of_method.patients.values()}
    return (min(draws) - 1) / (min(draws) + 1) if len(draws) == 1 else None


def lines(judgements: Judgements, tissues: Sequence[str] = ("all",)) -> list[str]:
    """Means over patients as a table, errors by number of draws, and warnings, for a terminal."""
    right = nominal(judgements)
    covered = "coverage" if right is None else f"coverage ({right:.0%})"
    table = [["method", "tissue", "spread-skill", covered, "CRPS", "ENCE", "AUSE"]]
    table += [
        [method, tissue, *_cells(of_method.over_patients[tissue])]
        for method, of_method in judgements.items()
        for tissue in tissues
        if tissue in of_method.over_patients
    ]
    errors = [_by_draws(name, judged.error_by_draws) for name, judged in judgements.items()]
    return [*aligned(table, 2), *errors, *(f"warning: {w}" for w in warnings(judgements))]


def _cells(figures: Mapping[str, OverPatients]) -> list[str]:
    def cell(name: str, form: str) -> str:
        return format(figures[name].mean, form) if name in figures else "-"

    skill = cell("spread_skill", ".2f")
    if "spread_skill" in figures and np.isfinite(figures["spread_skill"].interval).all():
        low, high = figures["spread_skill"].interval
        skill += f" [{low:.2f}, {high:.2f}]"
    others = (("range_coverage", ".1%"), ("crps", ".1f"), ("ence", ".2f"), ("ause", ".3f"))
    return [skill, *(cell(*other) for other in others)]


def _by_draws(method: str, error: ErrorByDraws) -> str:
    enough = f"{error.enough} draws come" if error.enough else "no number of draws comes"
    return (
        f"{method}: the mean of 1 draw errs by {error.rmse[0]:.1f} HU (root mean square), of "
        f"{len(error.draws)} by {error.rmse[-1]:.1f}, of infinitely many by {error.limit:.1f}; "
        f"{enough} within 1 % of this limit."
    )
