"""The tables and rates of the acceptance benchmark."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from sde_ct.acceptance.features import TISSUES
from sde_ct.acceptance.reference import Reference
from sde_ct.lab.benchmark.acceptance import STRENGTHS, Judged
from sde_ct.lab.phantom.faults import FAULTS
from sde_ct.uncertainty.text import aligned


def record(
    reference: Reference,
    unseen: Sequence[Judged],
    shifted: Sequence[Judged],
    faulty: Sequence[Judged],
) -> dict[str, Any]:
    """All rates, and every patient, as plain JSON values."""
    alarms = sum(bool(one.verdict.reasons) for one in unseen)
    interval = stats.binomtest(alarms, len(unseen)).proportion_ci(0.95, method="exact")
    everyone = [*unseen, *shifted, *faulty]
    return {
        "promise": reference.promise,
        "bound": unseen[0].verdict.bound,
        "level": reference.level,
        "false_alarms": alarms,
        "unseen": len(unseen),
        "false_alarm_interval": [float(interval.low), float(interval.high)],
        "bound_held": {t: _share_held(unseen, t) for t in TISSUES},
        "spearman": {
            name: {t: _spearman(judged, t) for t in TISSUES}
            for name, judged in (("unseen", unseen), ("scanner shift", shifted), ("all", everyone))
        },
        "refusals": [_refusal(name, faulty) for name in FAULTS],
        "shift": [_shift(strength, shifted) for strength in STRENGTHS],
        "patients": [
            {"group": one.group, "errors": dict(one.errors), **one.verdict.to_json()}
            for one in everyone
        ],
    }


def _share_held(judged: Sequence[Judged], tissue: str) -> float:
    bounds = [one.verdict.errors[tissue][1] for one in judged]
    held = [
        one.errors[tissue] <= most
        for one, most in zip(judged, bounds, strict=True)
        if most is not None
    ]
    return float(np.mean(held)) if held else float("nan")


def _spearman(judged: Sequence[Judged], tissue: str) -> float:
    known = [one for one in judged if tissue in one.errors and tissue in one.verdict.errors]
    predicted = [one.verdict.errors[tissue][0] for one in known]
    return float(stats.spearmanr(predicted, [one.errors[tissue] for one in known]).statistic)


def _refusal(name: str, faulty: Sequence[Judged]) -> dict[str, Any]:
    of_kind = [one.verdict for one in faulty if one.group == name]
    firsts = [one.reasons[0].name if one.reasons else "PASS" for one in of_kind]
    return {
        "fault": name,
        "patients": len(of_kind),
        "refused": sum(first != "PASS" for first in firsts),
        "right": sum(first in FAULTS[name].reasons for first in firsts),
        "first": firsts,
        "right_reasons": list(FAULTS[name].reasons),
    }


def _shift(strength: float, shifted: Sequence[Judged]) -> dict[str, Any]:
    of_kind = [one for one in shifted if one.group == f"{strength:g}"]
    return {
        "strength": strength,
        "patients": len(of_kind),
        "passed": sum(not one.verdict.reasons for one in of_kind),
        "mae": float(np.mean([one.errors["body"] for one in of_kind])),
        "predicted_mae": float(np.mean([one.verdict.errors["body"][0] for one in of_kind])),
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The rates and tables for a terminal."""
    low, high = found["false_alarm_interval"]
    table = [["fault", "patients", "refused", "right first reason", "first reasons"]]
    for one in found["refusals"]:
        counts = [str(one[key]) for key in ("patients", "refused", "right")]
        table.append([one["fault"], *counts, ", ".join(dict.fromkeys(one["first"]))])
    shift = [["scanner shift", "patients", "passed", "MAE", "predicted"]]
    for one in found["shift"]:
        maes = [f"{one[key]:.1f}" for key in ("mae", "predicted_mae")]
        shift.append([f"{one['strength']:g}", str(one["patients"]), str(one["passed"]), *maes])
    ranks = [["Spearman of predicted and true MAE", *TISSUES]]
    ranks += [[k, *(f"{v[t]:.2f}" for t in TISSUES)] for k, v in found["spearman"].items()]
    held = ", ".join(f"{t} {share:.1%}" for t, share in found["bound_held"].items())
    total, refused, right = (
        sum(one[key] for one in found["refusals"]) for key in ("patients", "refused", "right")
    )
    every = sum(one["right"] == one["patients"] for one in found["refusals"])
    return [
        f"False alarms: {found['false_alarms']} of {found['unseen']} unseen patients of the "
        f"training's kind (95 % interval {low:.1%} to {high:.1%}).",
        found["promise"],
        f"The MAE lay below its bound: {held}. {found['bound']}",
        *aligned(ranks),
        f"Refused: {refused} of {total}; right first reason: {right} of {total}. For {every} of "
        f"{len(found['refusals'])} faults the first reason was right in every patient.",
        *aligned(table),
        *aligned(shift),
    ]
