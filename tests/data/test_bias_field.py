"""N4: what it corrects, and that synthesis repeats what preparation did."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sde_ct.data.bias_field import without_bias_field
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.errors import InputError
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.synthesis import Synthesizer, load
from sde_ct.training.data import describe
from sde_ct.volumes.files import write_volume

from .. import tiny
from ..programs import call

SHAPE, SPACING = (40, 32, 4), (10.0, 10.0, 12.0)


def with_field(seed):
    """A phantom whose MR is four times as bright on one side as on the other."""
    one = pelvis_patient(seed, shape=SHAPE, spacing=SPACING)
    field = np.exp(0.7 * np.linspace(-1, 1, SHAPE[0]))[:, None, None]
    return one, replace(one.mr, array=(one.mr.array * field).astype(np.float32))


@pytest.mark.parametrize("slices", [pytest.param(slice(None), marks=pytest.mark.slow), slice(1, 2)])
def test_a_field_is_found_whatever_the_unit(slices):
    """Fat of one side over fat of the other: of the field's ratio at least half goes, in the
    logarithm; one slice is enough. Units change N4's results by rounding."""
    one, mr = with_field(1)
    mr, ct, body = (replace(v, array=v.array[..., slices]) for v in (mr, one.ct, one.mask))
    fat = (ct.array > -130) & (ct.array < -70) & (body.array > 0)
    left = np.arange(SHAPE[0])[:, None, None] < SHAPE[0] // 2

    def uneven(array):
        return abs(np.log(np.median(array[fat & left]) / np.median(array[fat & ~left])))

    found = without_bias_field(mr, body).array
    assert uneven(found) < 0.5 * uneven(mr.array)
    scaled = without_bias_field(replace(mr, array=mr.array / 1000), body).array
    np.testing.assert_allclose(scaled * 1000, found, rtol=1e-2)
    np.testing.assert_array_equal(without_bias_field(mr, body).array, found)


def test_what_n4_cannot_fit_is_refused():
    one, _ = with_field(0)
    with pytest.raises(InputError, match="N4 cannot fit a bias field to this MR"):
        without_bias_field(one.mr, replace(one.mask, array=0 * one.mask.array))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    root = tmp_path_factory.mktemp("n4") / "cohort"
    for seed in range(2):
        one, mr = with_field(seed)
        write_volume(root / f"p{seed}" / "mr.nii.gz", mr)
        write_volume(root / f"p{seed}" / "ct.nii.gz", one.ct)
    return root


@pytest.fixture(scope="module")
def data(cohort):
    cases = find_cases("synthrad2023", cohort, Patterns())
    split = {"train": ("p0",), "validation": ("p1",)}
    return prepare(cases, cohort.parent / "data", source="s", split=split, n4=True)


@pytest.mark.slow
def test_preparation_and_synthesis_correct_alike(data, tmp_path):
    """The set and the checkpoint record it; the kept volume is the MR as it was given."""
    assert data.n4 and json.loads((data.folder / "dataset.json").read_text())["n4"] is True
    case, (_, mr) = data.cases["p0"], with_field(0)
    np.testing.assert_array_equal(case.volume("mr").array, mr.array)
    shown = network_input(mr, RobustMR(), n4=True)
    prepared = RobustMR().to_model(case.load("mr"), case.percentiles)
    np.testing.assert_allclose(shown.mr[..., 0], prepared, atol=1e-5)
    both = network_input(mr, RobustMR(), further=[mr], n4=True)  # each contrast is corrected
    np.testing.assert_array_equal(both.mr[..., 1], shown.mr[..., 0])
    assert np.abs(network_input(mr, RobustMR()).mr[..., 0] - prepared).mean() > 0.02

    config = tiny.experiment("cnn")
    config.data.batch_size = 4
    tiny.train(config, data, tmp_path / "run", devices=1)
    trained = load(tmp_path / "run")
    assert trained.data["n4"] is True
    plain = trained._replace(data={k: v for k, v in trained.data.items() if k != "n4"})
    corrected = without_bias_field(mr, case.volume("body"))
    repeated = Synthesizer(trained, None)(mr, case="p", draws=1).mean.array
    by_hand = Synthesizer(plain, None)(corrected, case="p", draws=1).mean.array
    as_given = Synthesizer(plain, None)(mr, case="p", draws=1).mean.array
    body = case.volume("body").array > 0
    assert np.abs(repeated - by_hand)[body].mean() < 0.2 * np.abs(repeated - as_given)[body].mean()


def test_the_program_records_it_and_refuses_a_mixture(cohort, tmp_path):
    usual = [
        "--source=synthrad2023",
        f"--input={cohort}",
        f"--output={tmp_path / 'd'}",
        "--test=p1",
        "--validation=",
    ]
    assert call("prepare", *usual).status == 0
    assert "n4" not in json.loads((tmp_path / "d" / "request.json").read_text())
    assert (
        "was prepared with other settings (n4: None -> True)"
        in call("prepare", *usual, "--n4").error
    )


def test_a_set_without_it_is_described_as_before(cohort, tmp_path):
    cases = find_cases("synthrad2023", cohort, Patterns())
    plain = prepare(cases, tmp_path / "d", source="s", split={"train": ("p0", "p1")})
    assert not plain.n4 and "n4" not in describe(tiny.experiment().data, plain)
