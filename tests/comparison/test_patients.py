"""What a held-out patient brings along of its phantom."""

import json

from sde_ct.comparison import held_out, outcomes_seen
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import phantom_cases

from .. import tiny


def test_a_prior_that_the_mr_tells_comes_along(phantoms, tmp_path):
    cases = phantom_cases(tmp_path / "cohort", 3, 0, visible_priors=(0.2, 0.8), **tiny.PHANTOM)
    names = [case.id for case in cases]
    split = {"train": names[:1], "validation": (), "test": names[1:]}
    data = prepare(cases, tmp_path / "data", source="phantom", split=split)
    assert [patient.prior for patient in held_out(data)] == [0.8, 0.2]
    record = json.loads(cases[0].mr.with_name("phantom.json").read_text())
    assert {p: seen.tolist() for p, seen in outcomes_seen(data).items()} == {
        0.2: [record["bone_like"]]
    }
    assert outcomes_seen(phantoms) == {}
    assert [patient.prior for patient in held_out(phantoms)] == [None]  # 0.5, and no MR tells it
