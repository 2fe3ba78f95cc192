"""Demands on a run of the comparison. If one fails, the figures of the run cannot be trusted."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from sde_ct.evaluation.findings import NotMeasured, better, listed, mean, similarity
from sde_ct.evaluation.table import AVERAGES, DIRECT, DISTILLED, DRAWN, Row, Summary, summarise
from sde_ct.uncertainty.reliability import Outcomes

SPEARMAN_AT_LEAST = 0.3
FEW_COST = 1.02  # greatest ratio of UniPC's CRPS to that of DPM++, which has more evaluations


class Check(NamedTuple):
    """One demand, whether it is met, and the figures that decided it."""

    demand: str
    passed: bool
    figures: str

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.demand} ({self.figures})"


def checks(rows: Sequence[Row], ambiguity: dict[str, Outcomes] | None = None) -> list[Check]:
    """Check the demands on a complete comparison. A demand whose rows are missing fails.

    Args:
        rows: every method on every patient.
        ambiguity: {sampler: the outcomes of its draws in the ambiguous regions}; None if the data
            have no such regions.
    """
    summary = summarise(rows)
    demands: dict[str, Callable[[Summary], tuple[bool, str]]] = {}
    for average, single in zip(AVERAGES, DRAWN, strict=True):
        demands[f"{average} beats {single} in PSNR and SSIM"] = partial(
            _average, average=average, single=single
        )
    for method in ("CNN", "GAN", *AVERAGES):
        demands[f"{method} beats the lookup in MAE and SSIM"] = partial(_lookup, method=method)
    demands["network evaluations ODE < EM < PC"] = _evaluations
    for first, second in ((f"{DISTILLED}-M", "DPM++-M"), ("DDPM-M", f"{DIRECT}-M")):
        demands[f"{first} has a lower CRPS than {second}"] = partial(_crps, pair=(first, second))
    demand = f"UniPC-M has at most {FEW_COST:g} times the CRPS of DPM++-M"
    demands[demand] = partial(_crps, pair=("UniPC-M", "DPM++-M"), factor=FEW_COST)
    for method in AVERAGES:
        demand = f"{method}: Spearman of spread against |error| >= {SPEARMAN_AT_LEAST}"
        demands[demand] = partial(_rank, method=method)
    judged = []
    for demand, judge in demands.items():
        try:
            judged.append(Check(demand, *judge(summary)))
        except NotMeasured as missing:
            judged.append(Check(demand, False, str(missing)))
    return judged + [_both(sampler, result) for sampler, result in (ambiguity or {}).items()]


def _average(summary: Summary, average: str, single: str) -> tuple[bool, str]:
    return all(better(summary, average, single)), similarity(summary, (single, average))


def _lookup(summary: Summary, method: str) -> tuple[bool, str]:
    mae = mean(summary, method, "mae") < mean(summary, "lookup", "mae")
    ssim = mean(summary, method, "ssim") > mean(summary, "lookup", "ssim")
    pair = ("lookup", method)
    figures = f"MAE {listed(summary, 'mae', pair, 1)} HU; SSIM {listed(summary, 'ssim', pair, 4)}"
    return mae and ssim, figures


def _evaluations(summary: Summary) -> tuple[bool, str]:
    ordered = ("ODE", "EM", "PC")
    ode, em, pc = (mean(summary, m, "nfe") for m in ordered)
    return ode < em < pc, f"{listed(summary, 'nfe', ordered, 0)} a slice"


def _crps(summary: Summary, pair: tuple[str, str], factor: float = 1.0) -> tuple[bool, str]:
    first, second = (mean(summary, method, "crps") for method in pair)
    return first < factor * second, f"{listed(summary, 'crps', pair, 1)} HU"


def _rank(summary: Summary, method: str) -> tuple[bool, str]:
    value = mean(summary, method, "spearman")
    return value >= SPEARMAN_AT_LEAST, f"{value:.2f}"


def _both(sampler: str, result: Outcomes) -> Check:
    figures = (
        f"{result.bone_like} of {result.draws} draws bone-like, "
        f"95 % interval {result.low:.0%} to {result.high:.0%}"
    )
    if result.decided is not None:
        figures += f"; {result.decided:.0%} nearer to an outcome than to the middle"
    if result.within is not None:
        figures += f"; both in {result.within} of {result.patients} patients"
    return Check(f"{sampler}: both outcomes in the ambiguous region", result.both, figures)
