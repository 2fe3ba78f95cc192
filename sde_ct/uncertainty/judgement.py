"""What the draws of each method are worth, patient by patient and over patients.

The figures are those of `calibration` and `averaging`, gathered for `uncertainty.json` and the
terminal.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.uncertainty import averaging
from sde_ct.uncertainty.averaging import ErrorByDraws, error_by_draws
from sde_ct.uncertainty.calibration import (
    Calibration,
    OverPatients,
    by_tissue,
    over_patients,
    spread_warning,
)
from sde_ct.uncertainty.intervals import LEVEL, Interval, caveat
from sde_ct.volumes.masks import CtVolume, Mask, as_mask

NAME = "uncertainty.json"


class Judged(NamedTuple):
    """The draws of one patient."""

    draws: int
    by_tissue: dict[str, Calibration]  # `all` of the body, and the real CT's air, soft and bone
    by_draws: ErrorByDraws
    warning: str | None  # where the spread says little of the error


Judgements = Mapping[str, Mapping[str, Judged]]  # method -> patient -> its draws


def judge(draws: Float[np.ndarray, "m x y z"], ct: CtVolume, mask: Mask) -> Judged:
    """All of it.

    Args:
        draws: M >= 2 synthetic CTs of one patient, HU.
        ct: the real CT, HU.
        mask: the body, above 0; at least `uncertainty.BINS` voxels.
    """
    mask = as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
    # The body's voxels alone, as a column: the air around it, most of a volume, costs nothing.
    draws, ct = draws[:, mask][..., None, None], ct[mask][:, None, None]
    mask = np.ones(ct.shape, bool)
    return Judged(
        len(draws),
        by_tissue(draws, ct, mask),
        error_by_draws(draws, ct, mask),
        spread_warning(draws, mask, ct),
    )


def warnings(judgements: Judgements) -> list[str]:
    """A sentence for every patient whose spread must not be trusted."""
    return [
        f"{method}, {patient}: {judged.warning}"
        for method, cases in judgements.items()
        for patient, judged in cases.items()
        if judged.warning
    ]


def record(judgements: Judgements) -> dict[str, Any]:
    """The content of `uncertainty.json`: the same judgements give the same tree.

    Per method `over_patients` (means and intervals by tissue), `error_by_draws` over patients, and
    under `patients` everything; `nominal` in a coverage is what calibrated draws reach.
    """
    methods = {
        method: {
            "over_patients": _plain(over_patients([j.by_tissue for j in cases.values()])),
            "error_by_draws": _plain(averaging.over_patients([j.by_draws for j in cases.values()])),
            "patients": {patient: _plain(judged) for patient, judged in cases.items()},
        }
        for method, cases in judgements.items()
    }
    return {
        "methods": methods,
        "interval_level": LEVEL,
        "warnings": warnings(judgements),
        "caveat": caveat(_patients(judgements)),
    }


def lines(judgements: Judgements, tissues: Sequence[str] = ("all",)) -> list[str]:
    """A table for a terminal: a line a method and tissue, then the error by draws, warnings last.

    Figures are means over patients, with the interval of spread-skill, which judges most.
    """
    right = nominal(judgements)
    covered = "coverage" if right is None else f"coverage ({right:.0%})"
    titles = ("method", "tissue", "spread-skill", covered, "CRPS", "ENCE", "AUSE")
    table, errors = [titles], []
    for method, cases in judgements.items():
        found = over_patients([judged.by_tissue for judged in cases.values()])
        by_draws = averaging.over_patients([judged.by_draws for judged in cases.values()])
        table += [(method, name, *_cells(found[name])) for name in tissues if name in found]  # type: ignore[misc]
        errors.append(_by_draws(method, by_draws))
    widths = [max(len(row[i]) for row in table) for i in range(len(titles))]
    text = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in table
    ]
    return [*text, *errors, *(f"warning: {sentence}" for sentence in warnings(judgements))]


def nominal(judgements: Judgements) -> float | None:
    """Share of voxels within the range of all M draws, (M - 1) / (M + 1) if they are calibrated.

    None where not all patients have as many.
    """
    draws = {judged.draws for cases in judgements.values() for judged in cases.values()}
    return (min(draws) - 1) / (min(draws) + 1) if len(draws) == 1 else None


def _cells(figures: Mapping[str, OverPatients]) -> tuple[str, ...]:
    def cell(name: str, form: str) -> str:
        return format(figures[name].mean, form) if name in figures else "-"

    skill = cell("spread_skill", ".2f")
    if "spread_skill" in figures and np.isfinite(figures["spread_skill"].interval).all():
        low, high = figures["spread_skill"].interval
        skill += f" [{low:.2f}, {high:.2f}]"
    others = (("range_coverage", ".1%"), ("crps", ".1f"), ("ence", ".2f"), ("ause", ".3f"))
    return (skill, *(cell(*other) for other in others))


def _by_draws(method: str, found: ErrorByDraws) -> str:
    enough = f"{found.enough} are within 1 % of that" if found.enough else "no number is enough"
    return (
        f"{method}: the mean of 1 draw errs by {found.rmse[0]:.1f} HU (root mean square), of "
        f"{len(found.draws)} by {found.rmse[-1]:.1f}, of infinitely many by {found.limit:.1f}; "
        f"{enough}."
    )


def _patients(judgements: Judgements) -> int:
    return len({patient for cases in judgements.values() for patient in cases})


def _plain(value: Any) -> Any:
    """NamedTuples as objects, arrays as lists; an interval as its two bounds."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Calibration):
        return {k: _plain(v) for k, v in value._asdict().items()} | {"ause": value.ause}
    if hasattr(value, "_asdict") and not isinstance(value, Interval):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
