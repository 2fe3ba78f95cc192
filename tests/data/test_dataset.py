"""Batches: what they hold, that they can be repeated, and that shards make up the whole."""

import json
from itertools import islice

import numpy as np
import pytest

from sde_ct.data.dataset import (
    Slices,
    eval_batches,
    fit_intensity,
    parse_slices,
    train_iterator,
)
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import HUWindow, Intensity, RobustMR, SliceMinMax
from sde_ct.data.preparation.prepare import prepare
from sde_ct.data.sources.cohorts import Patterns, find_cases
from sde_ct.errors import InputError
from sde_ct.volumes.slice_grid import from_slices
from sde_ct.volumes.volume import Volume

from .conftest import AFFINE, patient

SPLIT = {
    "train": ("1PA000", "1PA001", "1PA003"),
    "validation": (),
    "test": ("1PA002", "1PA004"),
}


@pytest.fixture
def data(cohort, tmp_path):
    cases = find_cases("synthrad2023", cohort, Patterns())
    return prepare(cases, tmp_path / "data", source="synthrad2023", split=SPLIT, size=(16, 16))


def test_examples_are_the_prepared_slices_in_model_units(data):
    maps = Intensity(RobustMR(), HUWindow(-1000, 1000))
    source = Slices(data, "test", maps, neighbours=1)
    assert len(source) == 14 and source.where(9) == ("1PA004", 2)
    example, case = source[9], data.cases["1PA004"]
    assert {k: v.shape for k, v in example.items()} == {
        "mr": (16, 16, 3),
        "ct": (16, 16, 1),
        "valid": (16, 16, 1),
    }
    assert {field.dtype for field in example.values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(
        example["ct"][..., 0], np.clip(case.load("ct")[2] / 1000, -1, 1), atol=1e-6
    )
    low, high = case.percentiles[0.5], case.percentiles[99.5]
    expected = np.clip(2 * (case.load("mr")[1:4] - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(example["mr"], np.moveaxis(expected, 0, -1), atol=1e-6)
    np.testing.assert_array_equal(example["valid"][..., 0], case.load("valid")[2])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(data, value):
    """One voxel of one slice, also where the slice is only a neighbour of the one asked for."""
    path = data.cases["1PA004"].folder / "mr.npy"
    mr = np.load(path)
    mr[3, 5, 5] = value
    np.save(path, mr)
    source = Slices(data, "test", Intensity(), neighbours=1)
    assert source.where(8) == ("1PA004", 1) and np.isfinite(source[8]["mr"]).all()
    for z in (2, 3, 4):
        with pytest.raises(InputError) as refused:
            source[7 + z]
        assert str(refused.value) == (
            f"{path} holds NaN or infinite values: prepare the data again"
        )


def test_the_end_slices_are_their_own_neighbours(data):
    source = Slices(data, "test", Intensity(), neighbours=2)
    first, last = source[7]["mr"], source[13]["mr"]
    np.testing.assert_array_equal(first[..., 0], first[..., 2])
    np.testing.assert_array_equal(first[..., 1], first[..., 2])
    np.testing.assert_array_equal(last[..., 3], last[..., 2])
    assert not np.array_equal(first[..., 3], first[..., 2])


@pytest.mark.parametrize(
    ("text", "expected"), [("::", range(7)), ("0::2", [0, 2, 4, 6]), ("1:-1", range(1, 6))]
)
def test_slices_are_selected_and_their_neighbours_are_not(data, text, expected):
    source = Slices(data, "train", Intensity(), neighbours=1, z_slices=text)
    assert [source.where(i) for i in range(len(source))] == [
        (name, z) for name in SPLIT["train"] for z in expected
    ]
    full = Slices(data, "train", Intensity(), neighbours=1)
    np.testing.assert_array_equal(source[1]["mr"], full[list(expected)[1]]["mr"])


def test_training_and_synthesis_show_the_network_the_same_mr(cohort, data):
    case = data.cases["1PA002"]
    mr, mask = case.volume("mr"), case.volume("mask")
    for scaling in (RobustMR(1.0, 99.0), SliceMinMax()):
        source = Slices(data, "test", Intensity(mr=scaling), neighbours=1)
        shown = network_input(mr, scaling, mask, neighbours=1)
        assert shown.mr.shape == (7, 18, 20, 3) and shown.mask.shape == (7, 18, 20)
        for z in range(7):  # prepared slices are cut to 16 x 16 about their centre
            np.testing.assert_array_equal(shown.mask[z, 1:-1, 2:-2], case.load("mask")[z])
            if isinstance(scaling, RobustMR):
                np.testing.assert_array_equal(shown.mr[z, 1:-1, 2:-2], source[z]["mr"])


def test_a_mask_in_another_order_of_voxels_is_the_same_mask(data):
    """As `synthesize --mask` reads it from a file of another program."""
    case = data.cases["1PA002"]
    mr, mask = case.volume("mr"), case.volume("mask")
    shifted = np.eye(4)
    shifted[1] = [0, -1, 0, mask.array.shape[1] - 1]
    turned = Volume(
        mask.array[:, ::-1].swapaxes(0, 2), (mask.affine @ shifted)[:, [2, 1, 0, 3]], "mask"
    )
    shown = network_input(mr, RobustMR(), turned)
    np.testing.assert_array_equal(shown.mask, network_input(mr, RobustMR(), mask).mask)
    elsewhere = Volume(turned.array, turned.affine + np.eye(4, k=3), "mask")
    with pytest.raises(InputError, match="lie on different grids"):
        network_input(mr, RobustMR(), elsewhere)


def test_network_input_covers_the_volume_and_leads_back_to_it():
    mr = Volume(patient()["mr"], AFFINE, "a.u.")
    shown = network_input(mr, RobustMR(), spacing=(1.0, 1.0), size=(8, 8), multiple=8)
    assert shown.mr.shape == (7, 24, 24, 1)
    back = from_slices(shown.mask, shown.grid, unit="mask")
    assert back.array.shape == mr.array.shape
    np.testing.assert_array_equal(back.affine, mr.affine)


def order_of(batches, source) -> list[int]:
    """Which slices the rows of unaugmented batches are."""
    known = {source[i]["ct"].tobytes(): i for i in range(len(source))}
    return [known[ct.tobytes()] for batch in batches for ct in batch["ct"]]


def test_every_epoch_shows_every_slice_once_in_an_order_of_its_own(data):
    source = Slices(data, "train", Intensity())
    iterator = train_iterator(source, batch_size=7, seed=3)
    order = order_of(islice(iterator, 9), source)
    epochs = [order[i : i + 21] for i in (0, 21, 42)]
    assert all(sorted(epoch) == list(range(21)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != list(range(21))
    other = order_of(islice(train_iterator(source, batch_size=7, seed=4), 6), source)
    # A seed one larger must not be the same stream one epoch further on.
    assert other[:21] != epochs[0] and other[:21] != epochs[1]


def same(a, b) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in a)


def test_a_stopped_iterator_goes_on_as_if_it_had_not_stopped(data):
    source = Slices(data, "train", Intensity())
    options = {"batch_size": 4, "seed": 1, "flip": True, "rotate90": True, "deform": 1.0}
    iterator = train_iterator(source, **options)
    before = list(islice(iterator, 3))
    state = json.loads(json.dumps(iterator.get_state()))
    after = list(islice(iterator, 8))  # past the end of the first epoch
    again = train_iterator(source, **options)
    again.set_state(state)
    assert all(same(a, b) for a, b in zip(after, islice(again, 8), strict=True))
    fresh = train_iterator(source, **options)
    assert all(same(a, b) for a, b in zip(before, islice(fresh, 3), strict=True))


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_shards_side_by_side_are_the_whole_batch(data, shards):
    source = Slices(data, "train", Intensity())
    options = {"batch_size": 8, "seed": 1, "flip": True, "rotate90": True, "deform": 1.0}
    whole = list(islice(train_iterator(source, **options), 4))
    parts = [
        list(islice(train_iterator(source, **options, shard_index=i, shard_count=shards), 4))
        for i in range(shards)
    ]
    for step, batch in enumerate(whole):
        joined = {k: np.concatenate([part[step][k] for part in parts]) for k in batch}
        assert same(joined, batch)


def test_rows_do_not_depend_on_the_batch_size(data):
    source = Slices(data, "train", Intensity())
    small = list(islice(train_iterator(source, batch_size=2, seed=1, flip=True), 6))
    large = list(islice(train_iterator(source, batch_size=6, seed=1, flip=True), 2))
    for key in ("mr", "ct", "valid"):
        np.testing.assert_array_equal(
            np.concatenate([b[key] for b in small]), np.concatenate([b[key] for b in large])
        )


@pytest.mark.parametrize("size", [1, 4, 14, 20])
def test_evaluation_sees_every_slice_once_in_order(data, size):
    source = Slices(data, "test", Intensity())
    batches = list(eval_batches(source, size))
    assert {len(batch["ct"]) for batch in batches[:-1]} <= {size}
    rows = np.concatenate([batch["ct"] for batch in batches])
    np.testing.assert_array_equal(rows, np.stack([source[i]["ct"] for i in range(14)]))


def test_the_per_slice_inverse_learns_the_median_range_of_training_slices(data):
    fitted = fit_intensity(Intensity(ct=SliceMinMax()), data)
    planes = np.concatenate([data.cases[name].load("ct") for name in SPLIT["train"]])
    assert fitted.ct.low == np.median([plane.min() for plane in planes])
    assert fitted.ct.high == np.median([plane.max() for plane in planes])
    assert fit_intensity(Intensity(), data) == Intensity()


BAD = {
    "split": (lambda d, s: Slices(d, "dev", Intensity()), "split 'dev' is unknown"),
    "empty": (lambda d, s: Slices(d, "validation", Intensity()), "'validation' has no measured"),
    "none left": (
        lambda d, s: Slices(d, "train", Intensity(), z_slices="9:"),
        "has no measured slices in z_slices='9:'",
    ),
    "few": (
        lambda d, s: Slices(d, "train", Intensity(), neighbours=4),
        "case 1PA000 has 7 slices, but the network needs 9",
    ),
    "few to show": (
        lambda d, s: network_input(
            Volume(patient()["mr"], AFFINE, "a.u."), RobustMR(), neighbours=4, name="x.nii"
        ),
        "x.nii has 7 slices, but the network needs 9",
    ),
    "negative": (lambda d, s: Slices(d, "train", Intensity(), neighbours=-1), "0 or more"),
    "notation": (lambda d, s: parse_slices("even"), "start:stop:step"),
    "step 0": (lambda d, s: parse_slices("::0"), "start:stop:step"),
    "batch": (lambda d, s: train_iterator(s, batch_size=0, seed=0), "batch_size = 0"),
    "shards": (
        lambda d, s: train_iterator(s, batch_size=3, seed=0, shard_count=2),
        "a positive multiple of 2, the number of hosts",
    ),
    "no body": (
        lambda d, s: network_input(Volume(np.zeros((4, 4, 4)), AFFINE, "a.u."), RobustMR()),
        "shows no body",
    ),
    "eval batch": (lambda d, s: next(eval_batches(s, 0)), "batch_size = 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_impossible_requests_are_refused(data, case):
    act, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        act(data, Slices(data, "test", Intensity()))


def test_turning_needs_square_slices(cohort, tmp_path):
    cases = find_cases("synthrad2023", cohort, Patterns())
    data = prepare(cases, tmp_path / "wide", source="s", split=SPLIT)
    with pytest.raises(InputError, match="18 x 20"):
        train_iterator(Slices(data, "train", Intensity()), batch_size=2, seed=0, rotate90=True)
