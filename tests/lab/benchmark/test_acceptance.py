"""The rates of the acceptance benchmark, on verdicts whose rates are known."""

import numpy as np
import pytest

from sde_ct.acceptance.features import TISSUES
from sde_ct.acceptance.verdict import Reason, Verdict
from sde_ct.lab.benchmark.acceptance import EACH, STRENGTHS, Judged, between
from sde_ct.lab.benchmark.acceptance_results import lines, record
from sde_ct.lab.phantom.faults import FAULTS
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.lab.phantom.scanner import SCANNERS
from sde_ct.report.acceptance_chart import chart

MIRRORED = next(i for i, name in enumerate(FAULTS) if name == "mirrored")


def judged(group, mae, true, *reasons):
    errors = {tissue: (mae, 1.2 * mae) for tissue in TISSUES}
    found = tuple(Reason(name, 2.0, "") for name in reasons)
    return Judged(group, Verdict(found, {}, errors, "", ""), dict.fromkeys(TISSUES, true))


class Fitted:
    promise, level = "", 0.9


@pytest.fixture(scope="module")
def found():
    # Two of 40 patients are reviewed, and the true MAE of four lies above its bound.
    unseen = [judged("unseen", 50 + n, 80 + n if n < 4 else 40 + n) for n in range(38)]
    unseen += [judged("unseen", 90, 80, "noise")] * 2
    shifted = [
        judged(f"{s:g}", 50 + 10 * s, 45 + 20 * s, *(["contrast"] if n < 8 * s - 1 else []))
        for s in STRENGTHS
        for n in range(EACH)
    ]
    faulty = [judged(name, 90, 100, fault.reasons[0]) for name, fault in FAULTS.items()]
    faulty[MIRRORED] = judged("mirrored", 50, 50)
    return record(Fitted, unseen, shifted, faulty)


def test_the_rates_are_counted(found):
    assert found["false_alarms"] == 2
    low, high = found["false_alarm_interval"]
    assert (low, high) == pytest.approx((0.006, 0.169), abs=1e-3)  # Clopper-Pearson, 2 of 40
    assert found["bound_held"]["body"] == pytest.approx(36 / 40)
    assert found["spearman"]["scanner shift"]["body"] == pytest.approx(1)
    assert [one["passed"] for one in found["shift"]] == [7, 5, 4, 2, 1]
    right = {one["fault"]: one["right"] for one in found["refusals"]}
    assert right.pop("mirrored") == 0
    assert set(right.values()) == {1}


def test_the_tables_name_what_was_missed(found):
    text = "\n".join(lines(found))
    assert "False alarms: 2 of 40 unseen patients" in text
    assert "Refused: 19 of 20; right first reason: 19 of 20" in text
    left, right = chart(found).axes
    assert len(left.get_lines()) == 4
    assert right.get_lines()[0].get_ydata()[-1] == pytest.approx(1 / 8)


def test_scanners_between_two_are_these_at_the_ends():
    assert between(0.0) == SCANNERS["A"]
    assert between(1.0) == SCANNERS["B"]


def test_one_organ_makes_left_and_right_differ_and_changes_nothing_else():
    small = {"shape": (32, 24, 6), "spacing": (12.5, 12.5, 13.0)}
    usual, sided = (pelvis_patient(3, sided=s, **small).labels.array for s in (False, True))
    where = np.argwhere(usual != sided)
    assert 0 < len(where) < 0.03 * usual.size
    assert (where[:, 0] > 16).all()  # on the right
