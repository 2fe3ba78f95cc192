"""The gathered judgement of draws: right figures in the right places, warnings, files."""

import json

import numpy as np
import pytest

from sde_ct.evaluation.results import write_json
from sde_ct.uncertainty import averaging
from sde_ct.uncertainty import calibration as cal
from sde_ct.uncertainty.averaging import error_by_draws
from sde_ct.uncertainty.judgement import judge, lines, record, warnings

SHAPE = (14, 12, 10)


def _patient(seed, scale=1.0, draws=8):
    rng = np.random.default_rng(seed)
    centre = rng.choice([-800.0, 30.0, 700.0], SHAPE)
    members = centre + scale * rng.normal(0, 40, (draws, *SHAPE))
    mask = np.zeros(SHAPE, bool)
    mask[2:-2, 2:-2] = True
    return members.astype(np.float32), centre + rng.normal(0, 40, SHAPE), mask


@pytest.fixture(scope="module")
def judged():
    return {
        "EM-M": {f"p{i}": judge(*_patient(i)) for i in range(3)},
        "PC-M": {f"p{i}": judge(*_patient(i, 0.3)) for i in range(3)},
    }


def test_one_patient_is_judged_as_the_functions_do(judged):
    draws, ct, mask = _patient(0)
    got = judged["EM-M"]["p0"]
    for tissue, expected in cal.by_tissue(draws, ct, mask).items():
        assert got.by_tissue[tissue].crps == expected.crps
        assert got.by_tissue[tissue].spread_skill == expected.spread_skill
        assert got.by_tissue[tissue].ranks.shares == pytest.approx(expected.ranks.shares)
    expected = error_by_draws(draws, ct, mask)
    assert got.by_draws.rmse == pytest.approx(expected.rmse) and got.draws == 8
    wild = np.where(mask, draws, np.nan)
    assert judge(wild, ct, mask).by_draws.limit == got.by_draws.limit


def test_the_record_is_plain_and_complete(judged, tmp_path):
    for name in "ab":
        write_json(tmp_path / name, record(judged))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    found = json.loads((tmp_path / "a").read_text())
    method = found["methods"]["EM-M"]
    assert set(method["patients"]) == {"p0", "p1", "p2"}
    one, kept = method["patients"]["p1"]["by_tissue"]["all"], judged["EM-M"]["p1"].by_tissue["all"]
    assert one["crps"] == kept.crps and one["ause"] == kept.ause
    assert one["coverage"]["nominal"] == pytest.approx([7 / 9, 5 / 9, 3 / 9, 1 / 9])
    assert len(one["ranks"]["shares"]) == 9 and len(one["sparsification"]["oracle"]) == 20
    over = method["over_patients"]["bone"]["spread_skill"]
    values = [j.by_tissue["bone"].spread_skill for j in judged["EM-M"].values()]
    assert over["mean"] == pytest.approx(np.mean(values)) and over["patients"] == 3
    low, high = over["interval"]
    assert low < over["mean"] < high
    pooled = averaging.over_patients([j.by_draws for j in judged["EM-M"].values()])
    assert method["error_by_draws"]["rmse"] == pooled.rmse.tolist()
    assert found["caveat"].startswith("3 patients") and found["interval_level"] == 0.95


def test_a_spread_that_says_little_is_named(judged):
    """Spreads of 0.3 of the error: √(9/8 · 0.09 / (1 + 0.09/8)) = 32 %."""
    found = warnings(judged)
    assert [sentence.split(":")[0] for sentence in found] == [f"PC-M, p{i}" for i in range(3)]
    # 800 voxels: 4 % of the share.
    shares = [float(sentence.split("draws is ")[1].split("%")[0]) for sentence in found]
    assert shares == pytest.approx([32] * 3, abs=4)
    assert record(judged)["warnings"] == found


def test_lines_for_a_terminal(judged):
    text = lines(judged, ("all", "bone"))
    assert text[0].split() == [
        *("method", "tissue", "spread-skill", "coverage", "(78%)", "CRPS", "ENCE", "AUSE")
    ]
    assert [line.split()[:2] for line in text[1:5]] == [
        *(["EM-M", "all"], ["EM-M", "bone"], ["PC-M", "all"], ["PC-M", "bone"])
    ]
    figures = text[1].split()
    assert float(figures[2]) == pytest.approx(1, abs=0.1)
    # Range coverage of 2700 voxels against 7/9.
    assert float(figures[5].rstrip("%")) == pytest.approx(77.8, abs=4)
    assert text[5].startswith("EM-M: the mean of 1 draw errs by ")
    assert text[-1].startswith("warning: PC-M, p2: The spread of the 8 draws is")
