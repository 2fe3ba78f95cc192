"""Votes of a tiny network's draws, counted by hand."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.evaluation.results import write_figures
from sde_ct.lab.benchmark import known_priors
from sde_ct.lab.comparison import held_out
from sde_ct.report import charts, figures
from sde_ct.report.html.report_file import write_report
from sde_ct.synthesis import Synthesizer, load

from ...programs import call

DRAWS = 3


def test_every_slice_of_every_draw_votes_for_its_patients_prior(runs, phantoms, tmp_path):
    trained = load(runs("diffusion"))
    (patient,) = held_out(phantoms)
    visible = [
        dataclasses.replace(patient, id=name, prior=prior)
        for name, prior in (("a", 0.2), ("b", 0.8))
    ]
    hidden = dataclasses.replace(patient, id="c")
    training = {0.2: np.array([True, False]), 0.8: np.array([True])}
    patients = [*visible, hidden]
    results = known_priors.synthesize(trained, patients, ["em"], draws=DRAWS)
    measured = known_priors.measure(results, patients, training)
    (one_sampler,) = measured.values()
    region = patient.ambiguous.array > 0
    for one, outcome in zip(visible, one_sampler.outcomes, strict=True):
        ct = Synthesizer(trained, "em")(patient.mr, case=one.id, draws=DRAWS, mask=patient.mask)
        bone = [
            draw.array[..., z][region[..., z]].mean() > 0
            for draw in ct.draws
            for z in np.flatnonzero(region.any(axis=(0, 1)))
        ]
        assert (outcome.draws, outcome.bone_like) == (len(bone), sum(bone))
    assert [o.draws for o in one_sampler.seen] == [2, 1]
    write_figures(tmp_path / "r.json", known_priors.record(measured, {"draws": DRAWS}))
    stored = json.loads((tmp_path / "r.json").read_text())["samplers"]["EM"]
    assert stored["priors"] == [0.2, 0.8]
    assert stored["outcomes"][0]["draws"] == one_sampler.outcomes[0].draws
    with pytest.raises(InputError, match="shows several priors, and the data has 1"):
        known_priors.synthesize(trained, [visible[0], hidden], ["em"], draws=DRAWS)


def test_the_page_names_a_sampler_that_fails_and_shows_the_diagram(runs, phantoms, tmp_path):
    (patient,) = held_out(phantoms)
    patients = [dataclasses.replace(patient, id=f"p{p}", prior=p) for p in (0.1, 0.9)]
    results = known_priors.synthesize(load(runs("diffusion")), patients, ["em"], draws=DRAWS)
    measured = known_priors.measure(results, patients)
    figures.save(charts.reliability(measured), tmp_path / "reliability")
    failed = {"EM": measured["EM"]._replace(p=0.001)}
    page = known_priors.report(results, patients, failed, tmp_path)
    assert page.warnings[0].startswith("EM: FAILS (p = 0.001)")
    assert [picture.title for picture in page.figures] == ["Known probabilities"]
    assert {row.method for row in page.rows} == {"EM", "EM-M"}
    write_report(tmp_path / "report.html", page)
    assert "EM: FAILS" in (tmp_path / "report.html").read_text()
    passed = {"EM": measured["EM"]._replace(p=0.5)}
    warnings = known_priors.report(results, patients, passed, tmp_path).warnings
    assert not any("FAILS" in sentence for sentence in warnings)


def test_the_program_refuses_before_it_works(tmp_path):
    usual = ["benchmark", "--mode=reliability", f"--output={tmp_path / 'out'}"]
    assert "--samplers: unknown 'eulr'" in call(*usual, "--samplers=eulr").error
    student = call(*usual, "--recipe=distil", "--samplers=ddpm").error
    assert "--samplers: distil draws without a sampler: leave the flag out" in student
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/reliability.json").write_text("{}")
    assert "reliability.json exists" in call(*usual).error


def test_each_form_trains_at_the_noise_levels_that_decide():
    """The direct form above the recipe's -1.2, the residual and its student at all levels."""
    recipes = Path(__file__).resolve().parents[3] / "configs" / "demo"
    direct = known_priors.experiment(recipes, "ddpm").diffusion
    assert (direct.times, direct.log_mean) == ("lognormal", -0.4)
    for name in ("residual", "distil"):
        assert known_priors.experiment(recipes, name).diffusion.times == "uniform"
