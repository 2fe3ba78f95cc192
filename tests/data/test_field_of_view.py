"""A CT that sees a part of the body teaches nothing about the rest."""

from dataclasses import replace

import numpy as np
import pytest

from sde_ct.config import NetworkConfig
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.lab.phantom.pelvis import pelvis_patient
from sde_ct.synthesis import Synthesizer, load
from sde_ct.volumes.files import write_volume

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
