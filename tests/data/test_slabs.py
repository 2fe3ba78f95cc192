"""Runs of neighbouring slices as training examples."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from sde_ct.data.augmentation import IMAGES, augment
from sde_ct.data.dataset import Slices, eval_batches
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.slabs import Slabs, as_slices
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.data.through_plane import factor
from sde_ct.errors import InputError
from sde_ct.training.data import TrainingBatches, examples_of, intensity_of

from .. import tiny

LENGTHS = [60.0, 40.0, 20.0, 10.0, 5.0]
DATA = tiny.experiment().data


@pytest.fixture(scope="module")
def slices(phantoms):
    return Slices(phantoms, "train", intensity_of(DATA, phantoms))


def test_every_run_of_neighbours_is_an_example(slices, phantoms):
    """Three patients of six slices have four runs of three each."""
    slabs = Slabs(slices, 3, LENGTHS)
    assert len(slabs) == 12
    places = [slabs.where(i) for i in range(12)]
    assert places == [(case, z) for case in phantoms.split["train"] for z in range(4)]
    whole = [slices.where(i) for i in range(len(slices))]
    batch = as_slices(next(eval_batches(slabs, 12)), 3)
    assert batch["mr"].shape == (36, *slices[0]["mr"].shape)
    for i, (case, z) in enumerate(places):
        distance = phantoms.cases[case].grid.slice_mm
        for offset in range(3):
            single = slices[whole.index((case, z + offset))]
            for name in IMAGES:
                np.testing.assert_array_equal(batch[name][3 * i + offset], single[name])
        np.testing.assert_array_equal(batch["along_z"][i], factor(LENGTHS, distance, 3))


def test_slices_that_are_left_out_end_a_run(slices, monkeypatch):
    left_out = {index for index in range(len(slices)) if slices.where(index)[1] == 2}
    kept = [place for i, place in enumerate(slices._index) if i not in left_out]
    monkeypatch.setattr(slices, "_index", kept)
    assert {Slabs(slices, 3, LENGTHS).where(i)[1] for i in range(3)} == {3}
    assert {z for _, z in map(Slabs(slices, 2, LENGTHS).where, range(9))} == {0, 3, 4}
    with pytest.raises(InputError, match="slab=4: no train patient has that many neighbour"):
        Slabs(slices, 4, LENGTHS)


def test_short_patients_are_left_out_and_the_split_of_only_such_patients_is_named(cohort, tmp_path):
    """The lowest slices of two patients are cut off, of which one is the only one to validate."""
    for name in ("1PA003", "1PA004"):
        for path in (cohort / "Task1" / "pelvis" / name).iterdir():
            image = nib.load(path)
            nib.save(image.slicer[:, :, 3:], path)
    cases = find_cases("synthrad2023", cohort, Patterns())
    split = {"train": ["1PA000", "1PA001", "1PA002", "1PA003"], "validation": ["1PA004"]}
    data = prepare(cases, tmp_path / "data", source="synthrad2023", split=split)
    config = replace(tiny.experiment("joint").data, slab=5)
    source = examples_of(config, data, "train")
    assert {source.where(i)[0] for i in range(len(source))} == {"1PA000", "1PA001", "1PA002"}
    with pytest.raises(InputError, match="slab=5: no validation patient has that many"):
        examples_of(config, data, "validation")


def test_all_slices_of_a_slab_are_augmented_alike(slices):
    """A slab of one slice three times stays so, and its noise is not touched."""
    one = slices[4]
    same = {name: np.repeat(one[name], 3, axis=-1) for name in IMAGES}
    example = same | {"along_z": factor(LENGTHS, 4.0, 3)}
    rng = np.random.default_rng(0)
    for _ in range(8):
        after = augment(example, rng, flip=True, rotate90=False, deform=1.0)
        for name in IMAGES:
            np.testing.assert_array_equal(after[name], np.repeat(after[name][..., :1], 3, axis=-1))
        np.testing.assert_array_equal(after["along_z"], example["along_z"])


def test_training_gets_slabs_as_slices(phantoms):
    batches = TrainingBatches(tiny.experiment("joint").data, phantoms, seed=0)
    batch = next(batches)
    assert batch.mr.shape[0] == 8 * 3 and batch.along_z.shape == (8, 5, 3, 3)
    assert batch.mr_volumes.shape[:2] == (8, 3)
    np.testing.assert_array_equal(batch.mr_volumes[1, 2], batch.mr[5])
    assert len(batches.cases(0)) == 8
