"""Quality against cost: samplers of one or several networks at many numbers of evaluations."""

import csv
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sde_ct.config import Experiment, SamplingConfig
from sde_ct.errors import InputError
from sde_ct.evaluation.protocols import VOLUME, evaluate_case
from sde_ct.lab.comparison import Patient
from sde_ct.methods import build_sde, takes_sampler
from sde_ct.methods.samplers import SAMPLERS, with_evaluations
from sde_ct.synthesis import Synthesizer, SyntheticCT, Trained
from sde_ct.uncertainty.judgement import judge
from sde_ct.uncertainty.sums import energy_score

TOLERANCES = (0.3, 0.1, 0.03, 0.01, 0.001)  # of adaptive samplers, which have no budget
AVERAGED = (1, 2, 5, 10)  # numbers of draws that are averaged
REFERENCE = "ddpm"  # the sampler with which all samplers are compared
QUALITY = ("mae", "psnr", "ssim")
WITHIN = {"mae": 0.01, "ssim": 0.01, "spread": 0.10}  # relative to the reference


class Point(NamedTuple):
    """One sampler at one cost. Figures are means over patients; those in HU are of the body."""

    network: str  # the name of its work directory
    sampler: str  # or the method, if the network has no sampler
    setting: str  # the budget, or the tolerance of an adaptive sampler
    draws: int  # number averaged; with 1, the figures are means over single draws
    evaluations: float  # per slice, all averaged draws together
    seconds: float  # per slice, all averaged draws together, without compilation
    mae: float
    psnr: float  # dB
    ssim: float
    spread: float  # standard deviation of all draws, HU
    spread_skill: float  # ratio of spread to error, from all draws; 1 is ideal
    crps: float  # the fair (unbiased) CRPS of all draws, HU
    energy: float  # the fair energy score of all draws of the body, HU


def settings(
    config: Experiment, samplers: Sequence[str], budgets: Sequence[int], reference: int
) -> Iterator[tuple[str, str, SamplingConfig]]:
    """(sampler, label, options) for every sampler and each of its possible budgets.

    `REFERENCE` also gets the budget `reference`. Adaptive samplers get `TOLERANCES` instead.
    """
    options, sde = config.sampling, build_sde(config)
    for sampler in samplers:
        if SAMPLERS[sampler].budget is None:  # adaptive
            for tolerance in TOLERANCES:
                adaptive = dataclasses.replace(options, ode_rtol=tolerance, ode_atol=tolerance)
                yield sampler, f"tolerance {tolerance:g}", adaptive
            continue
        for budget in sorted({*budgets, *([reference] if sampler == REFERENCE else [])}):
            try:
                yield sampler, str(budget), with_evaluations(options, sampler, budget, sde)
            except InputError:
                continue


def frontier(
    trained: Trained,
    patients: Sequence[Patient],
    samplers: Sequence[str],
    budgets: Sequence[int],
    *,
    reference: int,
    draws: int = 10,
    seed: int = 0,
    name: str = "",
    progress: Callable[[list], Iterable] = iter,
) -> Iterator[Point]:
    """Yield the points of every sampler and budget, all drawn with the same seeds.

    A network without samplers, such as a distilled one, gives one point for each number of draws.

    Args:
      reference: a further budget of the sampler `REFERENCE`.
      name: the network's name in the points.
    """
    if trained.config.diffusion.times == "listed":
        raise InputError(
            "This network was trained for one number of evaluations and has no frontier: give "
            "another --workdir."
        )
    todo = [(None, "1", trained.config.sampling)]
    if takes_sampler(trained.config):
        todo = list(settings(trained.config, samplers, budgets, reference))  # type: ignore[arg-type]
    for sampler, label, options in progress(todo):
        config = dataclasses.replace(trained.config, sampling=options)
        synthesize = Synthesizer(trained._replace(config=config), sampler)
        made = [synthesize(p.mr, case=p.id, draws=draws, seed=seed, mask=p.mask) for p in patients]
        figures = [_figures(ct, p) for ct, p in zip(made, patients, strict=True)]
        for count in figures[0]:
            of_count = [by_count[count] for by_count in figures]
            mean = {key: float(np.mean([f[key] for f in of_count])) for key in of_count[0]}
            yield Point(name, sampler or config.method, label, count, **mean)


def regression(trained: Trained, patients: Sequence[Patient], name: str = "") -> Point:
    """The point of the control: a CNN with the same backbone, which needs one evaluation."""
    synthesize = Synthesizer(trained, None)
    figures = []
    for p in patients:
        ct = synthesize(p.mr, case=p.id, draws=1, mask=p.mask)
        case = evaluate_case(VOLUME, p.ct.array, ct.mean.array, p.mask.array > 0)
        figures.append([ct.evaluations, ct.seconds, *(case[name] for name in QUALITY)])
    evaluations, seconds, mae, psnr, ssim = np.mean(figures, axis=0).tolist()
    # The CRPS of a single value is its absolute error, and its energy score was not measured.
    scores = (mae, psnr, ssim, 0.0, 0.0, mae, math.nan)
    return Point(name, "cnn", "1", 1, evaluations, seconds, *scores)


def _figures(ct: SyntheticCT, patient: Patient) -> dict[int, dict[str, float]]:
    """{number of draws averaged: the figures of one patient}."""
    truth, mask = patient.ct.array, patient.mask.array > 0
    draws = np.stack([draw.array for draw in ct.draws])
    judged = judge(draws, truth, mask).figures
    energy = energy_score(draws[:, mask], truth[mask])
    figures = {}
    for count in (n for n in AVERAGED if n <= len(draws)):
        averaged = draws if count == 1 else [draws[:count].mean(0)]
        cases = [evaluate_case(VOLUME, truth, x, mask) for x in averaged]
        figures[count] = {
            "evaluations": count * ct.evaluations,
            "seconds": count * ct.seconds,
            **{name: float(np.mean([c[name] for c in cases])) for name in QUALITY},
            **{name: judged[name] for name in ("spread", "spread_skill", "crps")},
            "energy": energy,
        }
    return figures


def cheapest_within(points: Sequence[Point], reference: Point) -> Point | None:
    """The point with the fewest evaluations whose single draws are as good as `reference`.

    `WITHIN` bounds how much higher the MAE and how much lower the SSIM may be, and how far the
    spread may differ to either side.
    """

    def as_good(p: Point) -> bool:
        return (
            p.mae <= reference.mae * (1 + WITHIN["mae"])
            and p.ssim >= reference.ssim * (1 - WITHIN["ssim"])
            and abs(p.spread / reference.spread - 1) <= WITHIN["spread"]
        )

    fit = [p for p in points if p.draws == 1 and as_good(p)]
    return min(fit, key=lambda p: p.evaluations, default=None)


def reference_of(points: Sequence[Point]) -> Point | None:
    """Of the reference sampler's points for single draws, the one with the most evaluations."""
    single = [p for p in points if p.sampler == REFERENCE and p.draws == 1]
    return max(single, key=lambda p: p.evaluations, default=None)


def equal_totals(points: Sequence[Point]) -> list[tuple[Point, Point]]:
    """Pairs (single draw, average) of one sampler that cost the same total of evaluations."""
    singles = [p for p in points if p.draws == 1 and p.setting.isdecimal()]
    return [
        (one, many)
        for one in singles
        for many in points
        if many.draws > 1
        and (many.network, many.sampler) == (one.network, one.sampler)
        and many.evaluations == one.evaluations
    ]


def write_points(points: Sequence[Point], path: Path) -> None:
    """Write a CSV with one line for each point."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, Point._fields)
        writer.writeheader()
        writer.writerows(p._asdict() for p in points)


def record(points: Sequence[Point], about: dict[str, Any]) -> dict[str, Any]:
    """The content of `frontier.json`: `about`, the points, and comparisons of them."""
    reference = reference_of(points)
    best = cheapest_within(points, reference) if reference else None
    return {
        **about,
        "points": [p._asdict() for p in points],
        "reference": reference and reference._asdict(),
        "within": WITHIN,
        "cheapest_within": best and best._asdict(),
        "equal_totals": [
            {"single": one._asdict(), "average": many._asdict()}
            for one, many in equal_totals(points)
        ],
    }


def curves(points: Sequence[Point]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Points for the figure: {label: {"single": points, "average": points with the most draws}}."""
    most, several = max(p.draws for p in points), len({p.network for p in points}) > 1
    by_sampler: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for p in points:
        kind = {1: "single", most: "average"}.get(p.draws)
        if kind:
            label = f"{p.network}: {p.sampler}" if several else p.sampler
            by_sampler.setdefault(label, {}).setdefault(kind, []).append(p._asdict())
    return by_sampler


def sentences(points: Sequence[Point]) -> list[str]:
    """The comparisons of the points, in words."""
    lines = []
    if reference := reference_of(points):
        best = cheapest_within(points, reference)
        lines += [
            f"Reference, one draw: {_described(reference)}.",
            f"Fewest evaluations within {WITHIN['mae']:.0%} of its MAE and SSIM and "
            f"{WITHIN['spread']:.0%} of its spread: {_described(best) if best else 'none'}.",
        ]
        if cheap := [p for p in points if p.draws == 1 and p.spread > 0 and p.evaluations <= 20]:
            best_mae, best_crps = (min(cheap, key=attrgetter(name)) for name in ("mae", "crps"))
            lines.append(f"Lowest MAE with at most 20 evaluations: {_described(best_mae)}.")
            lines.append(f"Lowest CRPS with at most 20 evaluations: {_described(best_crps)}.")
    if pairs := equal_totals(points):
        won = sum(many.mae < one.mae for one, many in pairs)
        lines.append(
            f"At equal total evaluations, the average has the lower MAE in {won} of {len(pairs)} "
            "pairs."
        )
    return lines


def _described(p: Point) -> str:
    return (
        f"{p.network} by {p.sampler} with {p.evaluations:.0f} evaluations (MAE {p.mae:.1f} HU, "
        f"SSIM {p.ssim:.4f}, spread {p.spread:.1f} HU, CRPS {p.crps:.1f} HU)"
    )
