"""The verdicts follow the figures: each finding is confirmed, then turned by one change."""

from dataclasses import replace

import numpy as np
import pytest

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.table import METHODS
from sde_ct.lab.comparison.demands import checks
from sde_ct.uncertainty.reliability import outcomes

from ..rows import row

# MAE, PSNR, SSIM, evaluations and seconds a slice, under which the paper is right throughout.
FIGURES = {
    "lookup": (130, 20.0, 0.60, 0, 0.0),
    "CNN": (60, 26.0, 0.80, 1, 0.1),
    "GAN": (65, 25.5, 0.79, 1, 0.1),
    "Mean": (58, 26.5, 0.81, 2, 0.2),
    "DDPM": (55, 27.4, 0.85, 100, 1.0),
    "EM": (56, 27.2, 0.84, 100, 1.0),
    "PC": (57, 27.1, 0.83, 200, 2.0),
    "ODE": (58, 27.0, 0.82, 50, 0.5),
    "DPM++": (56, 27.3, 0.84, 20, 0.2),
    "UniPC": (57, 27.2, 0.83, 5, 0.1),
    "Distilled": (54, 27.5, 0.86, 2, 0.1),
    "Direct": (59, 26.9, 0.81, 100, 1.0),
    "DDPM-M": (45, 29.4, 0.92, 1000, 10.0),
    "EM-M": (46, 29.3, 0.91, 1000, 10.0),
    "PC-M": (47, 29.2, 0.90, 2000, 20.0),
    "ODE-M": (48, 29.1, 0.89, 500, 5.0),
    "DPM++-M": (46, 29.3, 0.91, 200, 2.0),
    "UniPC-M": (46, 29.2, 0.90, 50, 0.5),
    "Distilled-M": (44, 29.5, 0.93, 20, 1.0),
    "Direct-M": (50, 28.0, 0.88, 1000, 10.0),
}
SPREAD = {
    **{"DDPM-M": 40.0, "EM-M": 35.0, "PC-M": 45.0, "ODE-M": 38.0, "DPM++-M": 38.0},
    **{"UniPC-M": 38.0, "Distilled-M": 37.0, "Direct-M": 39.0},
}
CRPS = {"DDPM-M": 30.0, "DPM++-M": 31.0, "UniPC-M": 31.5, "Distilled-M": 28.0, "Direct-M": 36.0}


def _rows():
    rows = []
    for method in METHODS:
        mae, psnr, ssim, nfe, seconds = FIGURES[method]
        rows += [
            row(
                method,
                f"patient {k}",
                mae + 5 * k,
                psnr - k,
                ssim - 0.02 * k,
                nfe=nfe,
                seconds=seconds,
                spearman=0.4 if method in SPREAD else None,
                spread=SPREAD.get(method),
                crps=CRPS.get(method),
                detail=0.5 if method == "CNN" else 0.9,
                large_errors=0.02 if method == "CNN" else 0.05,
            )
            for k in range(3)
        ]
    return rows


def _replaced(r, **figures):
    """A figure may be given as a function of its old value."""
    new = {n: f(r.figures[n]) if callable(f) else f for n, f in figures.items()}
    return replace(r, figures={**r.figures, **new})


def _changed(method, **figures):
    return [_replaced(r, **figures) if r.method == method else r for r in _rows()]


def _verdicts(rows):
    return [finding.verdict for finding in findings(rows)]


def test_all_confirmed_where_the_paper_is_right():
    assert _verdicts(_rows()) == ["confirmed"] * 5


@pytest.mark.parametrize(
    "number, method, figures, verdict",
    [
        (0, "CNN", {"psnr": 28.0, "ssim": 0.87}, "partly"),  # between single draws and averages
        (0, "ODE-M", {"ssim": 0.5}, "partly"),
        (1, "PC-M", {"psnr": 26.0}, "partly"),
        (2, "ODE", {"seconds": 3.0}, "partly"),
        (2, "PC", {"nfe": 99}, "partly"),
        (3, "DDPM-M", {"spread": 30.0}, "partly"),
        (3, "DDPM", {"psnr": 20.0}, "partly"),
        (3, "DDPM-M", {"mae": 80.0}, "partly"),
        (4, "CNN", {"detail": 0.95}, "partly"),
        (4, "GAN", {"large_errors": 0.02}, "partly"),
    ],
)
def test_one_figure_turns_one_finding(number, method, figures, verdict):
    got = _verdicts(_changed(method, **figures))
    assert got[number] == verdict


def test_not_confirmed_where_nothing_holds():
    turned = dict.fromkeys(("mae", "psnr", "ssim", "nfe", "seconds"), lambda x: -x)
    rows = [_replaced(r, **turned, detail=1.0, large_errors=0.1) for r in _rows()]
    rows = [_replaced(r, spread=1.0) if r.method == "DDPM-M" else r for r in rows]
    verdicts = _verdicts(rows)
    assert [verdicts[i] for i in (0, 1, 2, 4)] == ["not confirmed"] * 4
    assert "0 of 8" in findings(rows)[1].figures


def test_ties_confirm_nothing():
    rows = [_replaced(r, psnr=25.0, ssim=0.8, nfe=10, seconds=1.0) for r in _rows()]
    assert _verdicts(rows)[:3] == ["not confirmed"] * 3


def test_the_sentence_carries_the_figures():
    sentence = str(findings(_rows())[2])
    assert sentence.startswith("ODE is the fastest sampler and PC the slowest: confirmed on this")
    assert "DDPM 100, EM 100, PC 200, ODE 50" in sentence
    # Means over the three patients: 0.02 lower than the first one's.
    assert "SSIM DDPM 0.8300 to 0.9000" in findings(_rows())[1].figures
    assert "CNN 2.00 %, GAN 5.00 %" in findings(_rows())[4].figures


def test_missing_rows_are_not_measured():
    rows = [r for r in _rows() if r.method != "GAN"]
    got = findings(rows)
    assert [f.verdict for f in got] == ["not measured", *["confirmed"] * 3, "not measured"]
    assert "of GAN is missing" in got[0].figures


BOTH = {"DDPM": outcomes(np.array([1, 1, 0, 1], bool), np.array([1, 0, 0, 0], bool))}


def test_all_demands_met():
    got = checks(_rows(), BOTH)
    assert len(got) == 8 + 10 + 1 + 3 + 8 + 1
    assert all(check.passed for check in got), [str(c) for c in got if not c.passed]
    assert str(got[-1]).startswith("pass  DDPM: both outcomes")
    assert "3 of 4 draws bone-like" in got[-1].figures
    assert "25% nearer to an outcome than to the middle" in got[-1].figures


@pytest.mark.parametrize(
    "method, figures, demand",
    [
        ("EM-M", {"ssim": 0.8}, "EM-M beats EM in"),
        ("GAN", {"mae": 140.0}, "GAN beats the lookup"),
        ("CNN", {"ssim": 0.5}, "CNN beats the lookup"),
        ("ODE", {"nfe": 100}, "ODE < EM < PC"),
        ("DDPM-M", {"crps": 36.0}, "lower CRPS than Direct-M"),
        ("UniPC-M", {"crps": 31.7}, "UniPC-M has at most 1.02 times"),  # 31.62 of DPM++-M
        ("PC-M", {"spearman": 0.29}, "PC-M: Spearman"),
        ("PC-M", {"spearman": float("nan")}, "PC-M: Spearman"),
        ("PC-M", {"spearman": None}, "PC-M: Spearman"),
    ],
)
def test_one_figure_fails_one_demand(method, figures, demand):
    failed = [check for check in checks(_changed(method, **figures), BOTH) if not check.passed]
    assert len(failed) == 1 and demand in failed[0].demand
    assert str(failed[0]).startswith("FAIL")


def test_outcomes_that_differ_between_patients_only_fail():
    pooled = outcomes(np.array([1, 1, 0, 0], bool))._replace(within=0, patients=2)
    check = checks(_rows(), {"ODE": pooled})[-1]
    assert not check.passed and "both in 0 of 2 patients" in check.figures


def test_a_single_outcome_fails():
    assert not checks(_rows(), {"ODE": outcomes(np.ones(10, bool))})[-1].passed
