"""The comparison as rows: one per method and patient, summarised over patients."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import CaseMetrics
from sde_ct.uncertainty.draws import UncertaintyMetrics

PAPER = ("DDPM", "EM", "PC", "ODE")  # the paper's samplers
PAPER_AVERAGES = tuple(f"{name}-M" for name in PAPER)
SAMPLERS = (*PAPER, "DPM++")
AVERAGES = tuple(f"{name}-M" for name in SAMPLERS)
METHODS = ("lookup", "CNN", "GAN", *SAMPLERS, *AVERAGES)  # in order


@dataclass(frozen=True)
class Row:
    """One method on one patient; None where a figure was not measured.

    Attributes:
        method: a name of `METHODS`, or any other.
        mae: HU, over the body, as are all errors here.
        psnr: dB.
        nfe: network evaluations spent on a slice, all draws together.
        seconds: wall-clock time spent on a slice, all draws together.
        spearman, spread_skill, crps, spread: see `UncertaintyMetrics`; for rows with draws.
        mean_error and what follows: see `CaseMetrics`.
    """

    method: str
    patient: str
    mae: float
    psnr: float
    ssim: float
    nfe: float | None = None
    seconds: float | None = None
    spearman: float | None = None
    spread_skill: float | None = None
    crps: float | None = None
    spread: float | None = None
    mean_error: float | None = None
    mae_air: float | None = None
    mae_soft: float | None = None
    mae_bone: float | None = None
    detail: float | None = None
    large_errors: float | None = None
    mean_error_air: float | None = None
    mean_error_soft: float | None = None
    mean_error_bone: float | None = None
    histogram_distance: float | None = None
    through_plane: float | None = None


FIGURES = tuple(field.name for field in fields(Row) if field.name not in ("method", "patient"))


def row(
    method: str,
    patient: str,
    case: CaseMetrics,
    *,
    nfe: float | None = None,
    seconds: float | None = None,
    uncertainty: UncertaintyMetrics | None = None,
    spearman: float | None = None,
) -> Row:
    """The row of one evaluated case; `spearman` for where the spread is known, the draws not."""
    judged = uncertainty._asdict() if uncertainty else {"spearman": spearman}
    judged.pop("draws", None)
    return Row(method, patient, nfe=nfe, seconds=seconds, **case._asdict(), **judged)


class Statistics(NamedTuple):
    """Over the patients for whom the figure exists (finite); `std` is NaN for one patient."""

    mean: float
    std: float  # sample standard deviation (n - 1)
    min: float
    max: float
    median: float
    q25: float
    q75: float
    n: int

    def deviation(self, digits: int) -> str:
        """As a table shows it after the mean: "± 2.1", or nothing for one patient."""
        return "" if np.isnan(self.std) else f"± {self.std:.{digits}f}"


Summary = dict[str, dict[str, Statistics]]  # method -> figure -> statistics


def summarise(rows: Sequence[Row]) -> Summary:
    """Every figure of every method over patients, methods in the order of their first row.

    Raises:
        InputError: no rows, a method with two rows for a patient, or methods that were not
            evaluated on the same patients, whose means cannot be compared.
    """
    if not rows:
        raise InputError("There is no row to summarise: evaluate at least one case.")
    by_method: dict[str, list[Row]] = {}
    for r in rows:
        by_method.setdefault(r.method, []).append(r)
    reference = sorted(r.patient for r in next(iter(by_method.values())))
    for method, group in by_method.items():
        patients = sorted(r.patient for r in group)
        if len(set(patients)) < len(patients):
            raise InputError(f"'{method}' has two rows for one patient: give each case once.")
        if patients != reference:
            raise InputError(
                f"'{method}' was evaluated on patients {', '.join(patients)} and '{rows[0].method}'"
                f" on {', '.join(reference)}: evaluate every method on the same patients."
            )
    return {
        method: {f: s for f in FIGURES if (s := _statistics([getattr(r, f) for r in group]))}
        for method, group in by_method.items()
    }


def _statistics(values: Sequence[float | None]) -> Statistics | None:
    x = np.array([v for v in values if v is not None and np.isfinite(v)], np.float64)
    if x.size == 0:
        return None
    q25, median, q75 = np.quantile(x, (0.25, 0.5, 0.75))
    std = x.std(ddof=1) if x.size > 1 else np.nan
    spread = (x.mean(), std, x.min(), x.max(), median, q25, q75)
    return Statistics(*(float(v) for v in spread), n=x.size)  # type: ignore[arg-type, misc]


class Column(NamedTuple):
    title: str
    figure: str
    digits: int


COLUMNS = (
    Column("MAE (HU, body)", "mae", 1),
    Column("PSNR (dB)", "psnr", 2),
    Column("SSIM", "ssim", 4),
    Column("evaluations/slice", "nfe", 0),
    Column("seconds/slice", "seconds", 3),
)


def text_table(summary: Summary) -> str:
    """Fixed-width table for a terminal: mean ± standard deviation over patients."""
    lines = _cells(summary)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]

    def render(line: list[str]) -> str:
        first, *rest = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        return "  ".join((first, *rest)).rstrip()

    head, *body = map(render, lines)
    return "\n".join([head, "-" * len(head), *body]) + "\n"


def _cells(summary: Summary) -> list[list[str]]:
    head = ["method", *(column.title for column in COLUMNS)]
    return [head] + [
        [method, *(_cell(figures.get(c.figure), c.digits) for c in COLUMNS)]
        for method, figures in summary.items()
    ]


def _cell(statistics: Statistics | None, digits: int) -> str:
    if statistics is None:
        return "-"
    return f"{statistics.mean:.{digits}f} {statistics.deviation(digits)}".rstrip()
