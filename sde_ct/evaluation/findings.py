"""The paper's five findings (Lyu & Wang, arXiv 2209.12104), checked against the rows.

Each finding is split into claims that a figure can refute. A finding is confirmed if all its claims
hold, partly confirmed if some do, and not confirmed if none does. "Better" means a better mean over
patients by any margin. Few patients cannot support a significance test, so each verdict comes with
its figures.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from sde_ct.evaluation.metrics import LARGE_ERROR
from sde_ct.evaluation.table import PAPER, PAPER_AVERAGES, Row, Summary, summarise

Answer = tuple[list[bool], str]  # whether each claim holds, and the figures
Verdict = Literal["confirmed", "partly", "not confirmed", "not measured"]

# A CT with less than this share of the real CT's fine detail is over-smooth. Resampling alone loses
# less than a fifth.
SMOOTH_BELOW = 0.8
ARTEFACT_FACTOR = 1.1  # the GAN has artefacts if its large errors exceed this multiple of the CNN's
SIMILARITY = (("PSNR", "psnr", 2), ("SSIM", "ssim", 4))  # title, figure, digits


class NotMeasured(Exception):
    """The rows lack a figure that a finding needs; the message names the figure."""


class Finding(NamedTuple):
    """A finding of the paper, and the verdict of the rows with its figures."""

    claim: str
    verdict: Verdict
    figures: str

    def __str__(self) -> str:
        return f"{self.claim}: {self.verdict} on this data ({self.figures})."


def findings(rows: Sequence[Row]) -> list[Finding]:
    """The five findings in the paper's order; "not measured" if rows or figures are missing."""
    summary = summarise(rows)
    questions = (
        ("Diffusion and score models beat CNN and GAN", _against_baselines),
        ("The -M averages beat single draws", _averages),
        ("ODE is the fastest sampler and PC the slowest", _speed),
        ("DDPM has higher fidelity and spread than some SDE samplers, and averaging helps", _ddpm),
        ("The CNN over-smooths and the GAN has artefacts", _artefacts),
    )
    return [_ask(claim, question, summary) for claim, question in questions]


def _ask(claim: str, question: Callable[[Summary], Answer], summary: Summary) -> Finding:
    try:
        holds, figures = question(summary)
    except NotMeasured as missing:
        return Finding(claim, "not measured", str(missing))
    verdict: Verdict = "confirmed" if all(holds) else "partly" if any(holds) else "not confirmed"
    return Finding(claim, verdict, figures)


def mean(summary: Summary, method: str, figure: str) -> float:
    """The mean over patients; raises `NotMeasured` if there is none."""
    statistics = summary.get(method, {}).get(figure)
    if statistics is None:
        raise NotMeasured(f"{figure} of {method} is missing")
    return statistics.mean


def listed(summary: Summary, figure: str, methods: Sequence[str], digits: int) -> str:
    """The mean of one figure for several methods, as "DDPM 21.3, EM 20.9"."""
    return ", ".join(f"{m} {mean(summary, m, figure):.{digits}f}" for m in methods)


def better(summary: Summary, a: str, b: str) -> list[bool]:
    """Whether a beats b in PSNR, and whether in SSIM."""
    return [mean(summary, a, f) > mean(summary, b, f) for f in ("psnr", "ssim")]


def similarity(summary: Summary, methods: Sequence[str]) -> str:
    """PSNR and SSIM of several methods."""
    return "; ".join(f"{title} {listed(summary, f, methods, d)}" for title, f, d in SIMILARITY)


def _against_baselines(summary: Summary) -> Answer:
    holds, counts = [], []
    groups = {"single draws": PAPER, "averages": PAPER_AVERAGES}
    for name, group in groups.items():
        for baseline in ("CNN", "GAN"):
            wins = [w for method in group for w in better(summary, method, baseline)]
            holds.append(all(wins))
            counts.append(f"{name} beat the {baseline} in {sum(wins)} of {len(wins)}")
    figures = []
    for title, figure, digits in SIMILARITY:
        ranges = [listed(summary, figure, ("CNN", "GAN"), digits)]
        for name, group in groups.items():
            values = [mean(summary, method, figure) for method in group]
            ranges.append(f"{name} {min(values):.{digits}f} to {max(values):.{digits}f}")
        figures.append(f"{title} {', '.join(ranges)}")
    return holds, f"in PSNR and SSIM {', '.join(counts)}; {'; '.join(figures)}"


def _averages(summary: Summary) -> Answer:
    wins = [w for single in PAPER for w in better(summary, f"{single}-M", single)]
    figures = []
    for title, figure, digits in SIMILARITY:
        average = {m: mean(summary, f"{m}-M", figure) for m in PAPER}
        pairs = [
            f"{listed(summary, figure, [m], digits)} to {average[m]:.{digits}f}" for m in PAPER
        ]
        figures.append(f"{title} {', '.join(pairs)}")
    return wins, f"better in {sum(wins)} of {len(wins)} comparisons; {'; '.join(figures)}"


def _speed(summary: Summary) -> Answer:
    holds = []
    for figure in ("nfe", "seconds"):
        cost = {m: mean(summary, m, figure) for m in PAPER}
        holds.append(all(cost["ODE"] < cost[m] for m in PAPER if m != "ODE"))
        holds.append(all(cost["PC"] > cost[m] for m in PAPER if m != "PC"))
    evaluations, seconds = listed(summary, "nfe", PAPER, 0), listed(summary, "seconds", PAPER, 3)
    return holds, f"evaluations per slice {evaluations}; seconds per slice {seconds}"


def _ddpm(summary: Summary) -> Answer:
    others = [m for m in PAPER if m != "DDPM"]
    spread = {m: mean(summary, f"{m}-M", "spread") for m in PAPER}
    nearer = [m for m in others if all(better(summary, "DDPM", m))]
    wider = [m for m in others if spread["DDPM"] > spread[m]]
    single, average = mean(summary, "DDPM", "mae"), mean(summary, "DDPM-M", "mae")
    figures = (
        f"higher PSNR and SSIM than {', '.join(nearer) or 'none'}; wider spread than "
        f"{', '.join(wider) or 'none'}: {', '.join(f'{m} {s:.1f}' for m, s in spread.items())} HU; "
        f"averaging changes its MAE from {single:.1f} to {average:.1f} HU; "
        f"{similarity(summary, PAPER)}"
    )
    return [bool(nearer), bool(wider), average < single], figures


def _artefacts(summary: Summary) -> Answer:
    """Whether the CNN lacks fine detail, and whether the GAN has more large errors than the CNN.

    Large errors measure artefacts, because false bone or gas is wrong by hundreds of HU. Fine
    detail does not measure artefacts, because noise-like texture adds detail but is no artefact.
    """
    detail = mean(summary, "CNN", "detail")
    cnn, gan = (100 * mean(summary, m, "large_errors") for m in ("CNN", "GAN"))
    figures = (
        f"fine detail relative to the real CT (below {SMOOTH_BELOW} it is over-smooth): "
        f"{listed(summary, 'detail', ('CNN', 'GAN'), 2)}; share of the body wrong by more than "
        f"{LARGE_ERROR:.0f} HU (above {ARTEFACT_FACTOR} times the CNN's share are artefacts): "
        f"CNN {cnn:.2f} %, GAN {gan:.2f} %"
    )
    return [detail < SMOOTH_BELOW, gan > ARTEFACT_FACTOR * cnn], figures
