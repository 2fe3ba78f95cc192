"""The paper's five findings (Lyu & Wang, arXiv 2209.12104), asked of the rows as questions.

A finding is split into claims that a figure can refute. All hold: confirmed; none: not confirmed;
some: partly. "Better" is the mean over patients, with no margin: few patients cannot carry a
significance test, so the figures stand in the sentence for the reader to weigh.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from sde_ct.evaluation.metrics import LARGE_ERROR
from sde_ct.evaluation.table import PAPER, PAPER_AVERAGES, Row, Statistics, Summary, summarise

Question = Callable[[Summary], tuple[list[bool], str]]  # -> whether each claim holds, figures
Verdict = Literal["confirmed", "partly", "not confirmed", "not measured"]

SMOOTH_BELOW = 0.8  # share of the real CT's fine detail: a fifth lost is beyond resampling blur
ARTEFACT_FACTOR = 1.1  # the GAN's share of large errors against the CNN's


class NotMeasured(Exception):
    """The rows lack a figure that a question needs; the message names it."""


class Finding(NamedTuple):
    """A finding of the paper and what the rows say to it, with the figures."""

    claim: str
    verdict: Verdict
    figures: str

    def __str__(self) -> str:
        return f"{self.claim}: {self.verdict} on this data ({self.figures})."


def findings(rows: Sequence[Row]) -> list[Finding]:
    """The five findings in the paper's order; "not measured" where rows or figures are missing."""
    summary = summarise(rows)
    questions = (
        ("Diffusion and score models beat CNN and GAN", _against_baselines),
        ("The -M averages beat single draws", _averages),
        ("ODE is the fastest sampler and PC the slowest", _speed),
        ("DDPM has higher fidelity and spread than some SDE samplers, averaging helps", _ddpm),
        ("The CNN over-smooths and the GAN has artefacts", _artefacts),
    )
    return [_ask(claim, question, summary) for claim, question in questions]


def _ask(claim: str, question: Question, summary: Summary) -> Finding:
    try:
        holds, figures = question(summary)
    except NotMeasured as missing:
        return Finding(claim, "not measured", str(missing))
    verdict = "confirmed" if all(holds) else "partly" if any(holds) else "not confirmed"
    return Finding(claim, verdict, figures)  # type: ignore[arg-type]


def mean(summary: Summary, method: str, figure: str) -> float:
    """The mean over patients; `NotMeasured` where there is none."""
    statistics: Statistics | None = summary.get(method, {}).get(figure)
    if statistics is None:
        raise NotMeasured(f"{figure} of {method} is missing")
    return statistics.mean


def listed(summary: Summary, figure: str, methods: Sequence[str], digits: int) -> str:
    """'DDPM 21.3, EM 20.9': the mean of one figure for several methods."""
    return ", ".join(f"{m} {mean(summary, m, figure):.{digits}f}" for m in methods)


def better(summary: Summary, a: str, b: str) -> list[bool]:
    """Whether a beats b in PSNR, and whether in SSIM."""
    return [mean(summary, a, f) > mean(summary, b, f) for f in ("psnr", "ssim")]


def similarity(summary: Summary, methods: Sequence[str]) -> str:
    """PSNR and SSIM of several methods."""
    return f"PSNR {listed(summary, 'psnr', methods, 2)}; SSIM {listed(summary, 'ssim', methods, 4)}"


def _against_baselines(summary: Summary) -> tuple[list[bool], str]:
    holds, counts = [], []
    for name, group in (("single draws", PAPER), ("averages", PAPER_AVERAGES)):
        for baseline in ("CNN", "GAN"):
            wins = [w for method in group for w in better(summary, method, baseline)]
            holds.append(all(wins))
            counts.append(f"{name} beat the {baseline} in {sum(wins)} of {len(wins)}")
    figures = [
        f"{title} {listed(summary, figure, ('CNN', 'GAN'), digits)}, single draws "
        f"{_range(summary, figure, PAPER, digits)}, averages "
        f"{_range(summary, figure, PAPER_AVERAGES, digits)}"
        for title, figure, digits in (("PSNR", "psnr", 2), ("SSIM", "ssim", 4))
    ]
    return holds, f"in PSNR and SSIM {', '.join(counts)}; {'; '.join(figures)}"


def _range(summary: Summary, figure: str, methods: Sequence[str], digits: int) -> str:
    values = [mean(summary, method, figure) for method in methods]
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def _averages(summary: Summary) -> tuple[list[bool], str]:
    pairs = list(zip(PAPER_AVERAGES, PAPER, strict=True))
    wins = [w for average, single in pairs for w in better(summary, average, single)]
    figures = [
        f"{title} "
        + ", ".join(
            f"{single} {mean(summary, single, figure):.{digits}f} to "
            f"{mean(summary, average, figure):.{digits}f}"
            for average, single in pairs
        )
        for title, figure, digits in (("PSNR", "psnr", 2), ("SSIM", "ssim", 4))
    ]
    return wins, f"better in {sum(wins)} of {len(wins)} comparisons; {'; '.join(figures)}"


def _speed(summary: Summary) -> tuple[list[bool], str]:
    holds = []
    for figure in ("nfe", "seconds"):
        cost = {m: mean(summary, m, figure) for m in PAPER}
        holds.append(all(cost["ODE"] < cost[m] for m in PAPER if m != "ODE"))
        holds.append(all(cost["PC"] > cost[m] for m in PAPER if m != "PC"))
    evaluations, seconds = (
        listed(summary, figure, PAPER, digits) for figure, digits in (("nfe", 0), ("seconds", 3))
    )
    return holds, f"evaluations a slice {evaluations}; seconds a slice {seconds}"


def _ddpm(summary: Summary) -> tuple[list[bool], str]:
    others = [m for m in PAPER if m != "DDPM"]
    spread = {m: mean(summary, f"{m}-M", "spread") for m in PAPER}
    nearer = [m for m in others if all(better(summary, "DDPM", m))]
    wider = [m for m in others if spread["DDPM"] > spread[m]]
    single, average = mean(summary, "DDPM", "mae"), mean(summary, "DDPM-M", "mae")
    figures = (
        f"higher PSNR and SSIM than {', '.join(nearer) or 'none'}; wider spread than "
        f"{', '.join(wider) or 'none'}: {', '.join(f'{m} {s:.1f}' for m, s in spread.items())} HU; "
        f"averaging takes its MAE from {single:.1f} to {average:.1f} HU; "
        f"{similarity(summary, PAPER)}"
    )
    return [bool(nearer), bool(wider), average < single], figures


def _artefacts(summary: Summary) -> tuple[list[bool], str]:
    """CNN: fine detail below `SMOOTH_BELOW` of the real CT's. GAN: more large errors than the CNN.

    Large errors, not detail, stand for artefacts: noise-like texture that is right in kind is no
    artefact, while bone or gas where there is none is one, and costs hundreds of HU.
    """
    detail = mean(summary, "CNN", "detail")
    cnn, gan = (100 * mean(summary, m, "large_errors") for m in ("CNN", "GAN"))
    figures = (
        f"fine detail against the real CT, over-smooth below {SMOOTH_BELOW}: "
        f"{listed(summary, 'detail', ('CNN', 'GAN'), 2)}; body wrong by more than "
        f"{LARGE_ERROR:.0f} HU, artefacts from {ARTEFACT_FACTOR} times the CNN's: "
        f"CNN {cnn:.2f} %, GAN {gan:.2f} %"
    )
    return [detail < SMOOTH_BELOW, gan > ARTEFACT_FACTOR * cnn], figures
