"""Votes of a tiny network's draws, counted by hand."""

import dataclasses
import json

import numpy as np
import pytest

from sde_ct.benchmark import reliability
from sde_ct.comparison import held_out
from sde_ct.errors import InputError
from sde_ct.evaluation.report import write_json
from sde_ct.synthesis import Synthesizer, load

from ..programs import call

DRAWS = 3


def test_every_slice_of_every_draw_votes_for_its_patients_prior(runs, phantoms, tmp_path):
    trained = load(runs("diffusion"))
    (patient,) = held_out(phantoms)
    told = [
        dataclasses.replace(patient, id=name, prior=prior)
        for name, prior in (("a", 0.2), ("b", 0.8))
    ]
    untold = dataclasses.replace(patient, id="c")
    seen = {0.2: np.array([True, False]), 0.8: np.array([True])}
    measured = reliability.measure(trained, [*told, untold], ["em"], draws=DRAWS, seen=seen)
    (found,) = measured.values()
    region = patient.ambiguous.array > 0
    for one, outcome in zip(told, found.outcomes, strict=True):
        ct = Synthesizer(trained, "em")(patient.mr, case=one.id, draws=DRAWS, mask=patient.mask)
        bone = [
            draw.array[..., z][region[..., z]].mean() > 0
            for draw in ct.draws
            for z in np.flatnonzero(region.any(axis=(0, 1)))
        ]
        assert (outcome.draws, outcome.bone_like) == (len(bone), sum(bone))
    assert [o.draws for o in found.seen] == [2, 1]
    write_json(tmp_path / "r.json", reliability.record(measured, {"draws": DRAWS}))
    stored = json.loads((tmp_path / "r.json").read_text())["samplers"]["em"]
    assert stored["priors"] == [0.2, 0.8]
    assert stored["outcomes"][0]["draws"] == found.outcomes[0].draws
    with pytest.raises(InputError, match="tells several priors and the data has 1"):
        reliability.measure(trained, [told[0], untold], ["em"], draws=DRAWS)


def test_the_program_refuses_before_it_works(tmp_path):
    usual = ["benchmark", "--mode=reliability", f"--output={tmp_path / 'out'}"]
    assert "--samplers: unknown 'eulr'" in call(*usual, "--samplers=eulr").error
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/reliability.json").write_text("{}")
    assert "reliability.json exists" in call(*usual).error
