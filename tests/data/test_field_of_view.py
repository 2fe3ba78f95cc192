"""A CT that sees a part of the body teaches nothing about the rest."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sde_ct.config import NetworkConfig
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.preparation import case as case_module
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.regions.body import body_mask
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.synthesis import Synthesizer, load
from sde_ct.volumes.files import read_volume, write_volume

from .. import tiny

RADIUS = 0.36  # of the CT's field of view as a share of the slice's width: site 2 of the Gold Atlas
PADDING = -2000.0  # HU outside it


def patient_of(seed):
    return pelvis_patient(seed, shape=(48, 40, 6), spacing=(9.0, 9.0, 12.0))


def inside_view(shape):
    x, y, _ = np.indices(shape)
    return np.hypot(x - (shape[0] - 1) / 2, y - (shape[1] - 1) / 2) <= RADIUS * shape[0]


@pytest.mark.slow
def test_a_cnn_continues_tissue_beyond_the_field_of_view_of_its_cts(tmp_path):
    """The median there lies within 100 HU of the complete CTs'; -1000 HU would be a cut patient.

    The complete CTs hold fat and muscle there, -100 to 60 HU, so that 100 HU tells tissue from air.
    """
    for seed in range(10):
        one, folder = patient_of(seed), tmp_path / "cohort" / f"p{seed}"
        narrow = np.where(inside_view(one.ct.array.shape), one.ct.array, PADDING)
        write_volume(folder / "mr.nii.gz", one.mr)
        write_volume(folder / "ct.nii.gz", one.ct.with_array(narrow))
        write_volume(folder / "mask.nii.gz", one.mask)
    cases = find_cases("synthrad2023", tmp_path / "cohort", Patterns())
    split = {"train": tuple(case.id for case in cases)}
    data = prepare(cases, tmp_path / "data", source="synthrad2023", split=split)
    config = replace(
        tiny.experiment("cnn", steps=300, learning_rate=2e-3, ema=0.9),
        network=NetworkConfig(channels=16, multipliers=(1, 2), blocks=1, patch=2, groups=4),
    )
    tiny.train(config, data, tmp_path / "run", devices=1)
    synthesize = Synthesizer(load(tmp_path / "run"), None)
    made, truth = [], []
    for seed in range(20, 24):
        one = patient_of(seed)
        beyond = (one.mask.array > 0) & ~inside_view(one.ct.array.shape)
        made.append(synthesize(one.mr, case=str(seed), draws=1).mean.array[beyond])
        truth.append(one.ct.array[beyond])
    made, truth = np.concatenate(made), np.concatenate(truth)
    print(f"{len(truth)} voxels: median {np.median(made):.0f} HU, CT {np.median(truth):.0f} HU")
    assert len(truth) > 200
    assert abs(np.median(made) - np.median(truth)) < 100


VARIANTS = {  # what the cohort gives beside the MR: its CT, its mask
    "no mask": lambda p, view: (p.ct.array, None),
    "a small mask": lambda p, view: (p.ct.array, ndimage.binary_erosion(p.mask.array)),
    "a narrow CT": lambda p, view: (np.where(view, p.ct.array, PADDING), p.mask.array),
    "a narrow CT, no mask": lambda p, view: (np.where(view, p.ct.array, PADDING), None),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_percentiles_of_an_mr_are_those_of_synthesis_whatever_lies_beside_it(tmp_path, name):
    """Equal to rounding: both depend on the MR alone."""
    one, folder = patient_of(0), tmp_path / "cohort" / "p"
    ct, mask = VARIANTS[name](one, inside_view(one.ct.array.shape))
    write_volume(folder / "mr.nii.gz", one.mr)
    write_volume(folder / "ct.nii.gz", one.ct.with_array(ct))
    if mask is not None:
        write_volume(folder / "mask.nii.gz", one.mask.with_array(mask))
    cases = find_cases("synthrad2023", tmp_path / "cohort", Patterns())
    data = prepare(cases, tmp_path / "data", source="s", split={"train": ("p",)})
    mr = read_volume(folder / "mr.nii.gz", "a.u.")
    for given in (None, one.mask):
        alone = network_input(mr, RobustMR(), given).percentiles
        for percentile, value in data.cases["p"].percentiles.items():
            assert alone[percentile] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("fill", [0, -1000, -1024])
def test_slices_that_a_registration_filled_do_not_teach(tmp_path, fill):
    """3 of 8 slices, whose body is 38 % of all to a tenth: slices differ in area.

    Of the air in the others 1 % may be lost, noise beside the fill that has its value.
    """
    one, folder = pelvis_patient(0, shape=(48, 40, 8), spacing=(9.0, 9.0, 9.0)), tmp_path / "p"
    hu = one.ct.array.copy()
    hu[..., 5:] = fill
    write_volume(folder / "mr.nii.gz", one.mr)
    write_volume(folder / "ct.nii.gz", one.ct.with_array(hu))
    cases = find_cases("synthrad2023", tmp_path, Patterns())
    case = prepare(cases, tmp_path / "data", source="s", split={"train": ("p",)}).cases["p"]
    valid, body = case.load("valid"), body_mask(one.mr).array
    assert valid[:5].mean() > 0.99 and not valid[5:].any()
    assert valid[:5][case.load("mask")[:5] > 0].all()
    share = case.record["body_outside_field_of_view"]
    assert share == pytest.approx(body[..., 5:].sum() / body.sum(), abs=1e-4)
    assert share == pytest.approx(0.38, rel=0.1)
    assert (
        f"{100 * share:.1f} % of the body lies outside the field of view of MR or CT and is unused"
        in str(case.record["warnings"])
    )


def test_the_picture_shows_no_ct_where_none_was_measured(tmp_path, monkeypatch):
    """What stands there in the training slices, 0 HU of soft tissue, would look like a CT."""
    one, folder = patient_of(0), tmp_path / "cohort" / "p0"
    narrow = np.where(inside_view(one.ct.array.shape), one.ct.array, PADDING)
    write_volume(folder / "mr.nii.gz", one.mr)
    write_volume(folder / "ct.nii.gz", one.ct.with_array(narrow))
    drawn, draw = [], case_module.overview

    def spy(mr, ct, *given, **options):
        drawn.append(ct)
        return draw(mr, ct, *given, **options)

    monkeypatch.setattr(case_module, "overview", spy)
    cases = find_cases("synthrad2023", tmp_path / "cohort", Patterns())
    split = {"train": ("p0",)}
    data = tmp_path / "data"
    prepared = prepare(cases, data, source="synthrad2023", split=split, pictures=True)
    case = prepared.cases["p0"]
    beyond = case.load("valid") == 0
    assert (drawn[0][beyond] == -1000).all() and (case.load("ct")[beyond] == 0).any()
