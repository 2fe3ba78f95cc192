"""Splits by patient."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sde_ct.data.split import SPLITS, check_split, parse_share, split_patients
from sde_ct.errors import InputError

NAMES = [f"1PA{n:03d}" for n in range(10)]


@given(
    st.lists(st.text("abc123", min_size=1, max_size=4), min_size=1, max_size=25, unique=True),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
    st.integers(0, 2**32 - 1),
)
def test_every_patient_is_in_one_split_whatever_the_order(names, validation, test, seed):
    split = split_patients(names, validation=validation, test=test, seed=seed)
    assert tuple(split) == SPLITS
    assert sorted(sum(split.values(), ())) == sorted(names)
    assert split["train"]
    shuffled = random.Random(0).sample(names, len(names))
    assert split_patients(shuffled, validation=validation, test=test, seed=seed) == split


@pytest.mark.parametrize(
    ("patients", "counts"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (10, (7, 1, 2)), (19, (13, 2, 4))],
)
def test_counts_of_the_default_fractions(patients, counts):
    split = split_patients([f"p{n}" for n in range(patients)])
    assert tuple(len(split[key]) for key in SPLITS) == counts


def test_patients_keep_the_sides_that_they_had():
    """Of 10 patients 2 test and 1 validates; new ones fill up what is short, and no more."""
    before = {name: "train" for name in NAMES[:5]} | {NAMES[5]: "test"}
    for seed in range(5):
        split = split_patients(NAMES, seed=seed, before=before)
        assert set(NAMES[:5]) <= set(split["train"]) and NAMES[5] in split["test"]
        assert [len(split[key]) for key in SPLITS] == [7, 1, 2]
    many = dict.fromkeys(NAMES[:6], "test")
    split = split_patients(NAMES, before=many)
    assert split["test"] == tuple(NAMES[:6]) and len(split["validation"]) == 1
    assert split_patients(NAMES, before={}) == split_patients(NAMES)
    assert split_patients(NAMES[:2], before={NAMES[0]: "test"})["train"] == (NAMES[1],)


def test_the_seed_matters():
    splits = {split_patients(NAMES, seed=seed)["test"] for seed in range(20)}
    assert len(splits) > 5


def test_named_patients_are_taken_as_they_are():
    split = split_patients(NAMES, test=("1PA007", "1PA002"), validation=0.1)
    assert split["test"] == ("1PA007", "1PA002")
    assert len(split["validation"]) == 1 and len(split["train"]) == 7


BAD = {
    "nobody": (lambda: split_patients([]), "no patients"),
    "fraction": (lambda: split_patients(NAMES, test=1.5), "fraction"),
    "negative": (lambda: split_patients(NAMES, validation=-0.1), "fraction"),
    "stranger": (lambda: split_patients(NAMES, test=("x",)), "patient x, who is not"),
    "twice": (
        lambda: split_patients(NAMES, test=NAMES[:2], validation=NAMES[1:3]),
        "patient 1PA001 is in",
    ),
    "no training": (lambda: split_patients(NAMES, test=NAMES), "left for training"),
    "unknown part": (lambda: check_split({"dev": ()}, NAMES), "'dev' is unknown"),
    "forgotten": (lambda: check_split({"train": NAMES[1:]}, NAMES), "1PA000 is in no split"),
    "misspelt": (lambda: parse_share("1PA000,1PB", NAMES), "patient 1PB is not in the data"),
    # Python's float() reads this as 103.
    "begun": (lambda: parse_share("1_03", ["1_03_P"]), "patient 1_03 is not .* one of 1_03_P"),
}


@pytest.mark.parametrize("case", BAD)
def test_impossible_splits_are_refused(case):
    act, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        act()


@pytest.mark.parametrize(
    ("text", "share"),
    [("0.25", 0.25), ("", 0.0), ("0", 0.0), ("1PA003", ("1PA003",)), ("a, 7", ("a", "7"))],
)
def test_shares_on_the_command_line(text, share):
    assert parse_share(text, [*NAMES, "a", "7"]) == share
