"""The frontier: what follows from its points, and a small one measured."""

import csv
import json

import pytest
from matplotlib.image import imread

from sde_ct.config import Experiment
from sde_ct.lab.benchmark.frontier import (
    Point,
    cheapest_within,
    equal_totals,
    reference_of,
    sentences,
    settings,
)
from tests import programs


def point(sampler, evaluations, mae, *, draws=1, ssim=0.8, spread=50.0, crps=40.0):
    cost = (draws, draws * evaluations, 1.0)
    return Point(
        "run", sampler, str(evaluations), *cost, mae, 30.0, ssim, spread, 1.0, crps, 2 * crps
    )


POINTS = [
    point("ddpm", 20, 80.0, spread=20.0),
    point("ddpm", 1000, 80.0),
    point("dpm", 10, 80.9),  # 1.1 % worse
    point("dpm", 15, 79.0, spread=56.0),  # a spread 12 % wider
    point("dpm", 16, 79.0, ssim=0.79),  # 1.25 % worse
    point("dpm", 20, 80.7, ssim=0.81, spread=46.0),
    point("dpm", 10, 60.0, draws=10),
    point("dpm", 100, 80.0),
]


def test_the_cheapest_as_good_as_the_reference():
    """A better MAE or SSIM counts as good, another spread does not, an average is no draw."""
    reference = reference_of(POINTS)
    assert reference == POINTS[1]
    assert cheapest_within(POINTS, reference) == POINTS[5]
    assert cheapest_within(POINTS[:3], reference) == POINTS[1]
    assert reference_of(POINTS[2:]) is None


def test_equal_totals_pair_one_sampler_at_one_cost():
    assert equal_totals(POINTS) == [(POINTS[7], POINTS[6])]
    text = " ".join(sentences(POINTS))
    assert "dpm with 20 evaluations (MAE 80.7 HU" in text and "in 1 of 1" in text


def test_settings_leave_out_what_a_sampler_cannot():
    chosen = [
        (s, label) for s, label, _ in settings(Experiment(), ["ddim", "heun", "ode"], [2, 14], 4)
    ]
    assert chosen[:3] == [("ddim", "2"), ("ddim", "14"), ("heun", "14")]
    assert all(s == "ode" and label.startswith("tolerance") for s, label in chosen[3:])


def arguments(runs, phantoms, output, **changed):
    given = {
        "mode": "frontier",
        "workdir": runs("diffusion"),
        "data": phantoms.folder,
        "output": output,
        "samplers": "ddpm,dpm_sde",
        "evaluations": "2,4",
        "draws": 2,
        "reference": 4,
        "regression": runs("cnn"),
    }
    return [f"--{name}={value}" for name, value in (given | changed).items()]


@pytest.mark.slow
def test_a_small_frontier_is_measured(runs, phantoms, tmp_path):
    further = f"--workdir={runs('distilled')}"
    done = programs.call("benchmark", *arguments(runs, phantoms, tmp_path), further)
    assert done.status == 0, done.err
    rows = list(csv.DictReader(open(tmp_path / "frontier.csv")))
    assert [(r["sampler"], float(r["evaluations"]), r["draws"]) for r in rows] == [
        ("cnn", 1, "1"),
        *(("ddpm", n * m, str(m)) for n in (2, 4) for m in (1, 2)),
        *(("dpm_sde", n * m, str(m)) for n in (2, 4) for m in (1, 2)),
        *(("distilled", 2 * m, str(m)) for m in (1, 2)),
    ]
    assert float(rows[0]["crps"]) == float(rows[0]["mae"]) and float(rows[0]["spread"]) == 0
    for one, two in zip(rows[1::2], rows[2::2], strict=True):
        # An average errs less than its draws do, in the mean (the triangle inequality).
        assert 0 < float(two["mae"]) < float(one["mae"])
        assert float(one["crps"]) < float(one["energy"])  # a root mean square over voxels
    said = json.loads((tmp_path / "frontier.json").read_text())
    assert said["reference"]["evaluations"] == 4
    assert said["patients"] == list(phantoms.split["validation"])
    assert imread(tmp_path / "frontier.png").std() > 0.01
    again = programs.call("benchmark", *arguments(runs, phantoms, tmp_path))
    assert "frontier.csv exists" in again.error


BAD = {
    "sampler": ({"samplers": "dpm,euler"}, "unknown 'euler'; give some of ddpm, em"),
    "evaluations": ({"evaluations": "5,few"}, "--evaluations=5,few: give whole numbers"),
    "few": (
        {"samplers": "dpm", "evaluations": "1"},
        "--evaluations=1: give larger numbers, because",
    ),
    "workdir": ({"workdir": ""}, "give --workdir=RUN and --data=PREPARED"),
    "no workdir": ({"workdir": "nowhere"}, "nowhere is not a work directory"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name, runs, phantoms, tmp_path):
    changed, sentence = BAD[name]
    done = programs.call("benchmark", *arguments(runs, phantoms, tmp_path / "out", **changed))
    assert sentence in done.error and not (tmp_path / "out").exists()
