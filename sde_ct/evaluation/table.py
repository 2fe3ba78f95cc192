"""The comparison as rows, one per method and patient, and their summary over patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sde_ct.errors import InputError
from sde_ct.evaluation.columns import SHARED, UNMEASURED, Column
from sde_ct.evaluation.protocols import PROTOCOLS
from sde_ct.uncertainty.text import aligned

PAPER = ("DDPM", "EM", "PC", "ODE")  # the paper's samplers
PAPER_AVERAGES = tuple(f"{name}-M" for name in PAPER)
DIRECT = "Direct"  # a diffusion of the CT itself, not of its residual to a predicted mean
DISTILLED = "Distilled"  # a network that draws the residual in one evaluation
DRAWN = (*PAPER, "DPM++", "UniPC", DISTILLED, DIRECT)  # the methods whose draws differ
AVERAGES = tuple(f"{name}-M" for name in DRAWN)
METHODS = ("lookup", "CNN", "GAN", "Mean", *DRAWN, *AVERAGES)  # in the order of the tables

_ALL = (*SHARED, UNMEASURED, *(column for p in PROTOCOLS.values() for column in p.columns))
# If two protocols list the same column, tables and files hold it once.
COLUMNS = tuple(c for i, c in enumerate(_ALL) if c.name not in {other.name for other in _ALL[:i]})


@dataclass(frozen=True)
class Row:
    """The figures of one method on one patient.

    Attributes:
        method: any name; those of the demo are `METHODS`.
        figures: figures by the names of `COLUMNS`; None or absent if a figure was not measured.
    """

    method: str
    patient: str
    figures: Mapping[str, float | None]


class Statistics(NamedTuple):
    """Statistics over patients with a finite figure; `std` is NaN for a single patient."""

    mean: float
    std: float  # sample standard deviation (n - 1)
    min: float
    max: float
    median: float
    q25: float
    q75: float
    n: int

    def deviation(self, digits: int) -> str:
        """The text that follows the mean in a table: "± 2.1", or nothing for one patient."""
        return "" if np.isnan(self.std) else f"± {self.std:.{digits}f}"


Summary = dict[str, dict[str, Statistics]]  # method -> figure -> statistics


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns for a file with these rows."""
    return [c for c in COLUMNS if c.always or any(c.name in r.figures for r in rows)]


def summarise(rows: Sequence[Row]) -> Summary:
    """Statistics of every figure over patients, with methods in the order of their first rows.

    Raises:
        InputError: there are no rows; a method has two rows for a patient; or methods were
            evaluated on different patients, so that their means cannot be compared.
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
        method: {c.name: s for c in COLUMNS if (s := _statistics(c.name, group))}
        for method, group in by_method.items()
    }


def _statistics(name: str, rows: Sequence[Row]) -> Statistics | None:
    values = [r.figures.get(name) for r in rows]
    x = np.array([v for v in values if v is not None and np.isfinite(v)], np.float64)
    if x.size == 0:
        return None
    std = x.std(ddof=1) if x.size > 1 else np.nan
    q25, median, q75 = np.quantile(x, (0.25, 0.5, 0.75))
    figures = (x.mean(), std, x.min(), x.max(), median, q25, q75)
    return Statistics(*map(float, figures), n=x.size)  # type: ignore[arg-type, misc]


def text_table(summary: Summary) -> str:
    """A table for a terminal: mean ± standard deviation over patients."""
    measured = {name for figures in summary.values() for name in figures}
    columns = [c for c in COLUMNS if c.group == "main" and (c.always or c.name in measured)]
    rows = [["method", *(column.title for column in columns)]]
    for method, figures in summary.items():
        rows.append([method, *(_cell(figures.get(c.name), c.digits) for c in columns)])
    head, *body = aligned(rows)
    return "\n".join([head, "-" * len(head), *body]) + "\n"


def _cell(statistics: Statistics | None, digits: int) -> str:
    if statistics is None:
        return "-"
    return f"{statistics.mean:.{digits}f} {statistics.deviation(digits)}".rstrip()
