"""Split patients into training, validation and test. All slices of a patient stay together."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import numpy as np

from sde_ct.errors import InputError, first_of
from sde_ct.storage.records import Limit

SPLITS = ("train", "validation", "test")
Share = float | Sequence[str]  # a fraction of the patients, or their names
Split = dict[str, tuple[str, ...]]
SplitRecord = Annotated[dict[str, list[str]], Limit(lambda s: bool(s.get("train")), "a split")]


def split_patients(
    patients: Sequence[str],
    *,
    validation: Share = 0.1,
    test: Share = 0.2,
    seed: int = 0,
    before: Mapping[str, str] = MappingProxyType({}),
) -> Split:
    """Divide patients between the three parts. The order of the names has no effect.

    A fraction is rounded to whole patients, and one above 0 to at least one patient. But fractions
    leave one patient for training: with few patients, validation becomes empty first, then test.

    Args:
      patients: their names.
      validation, test: fractions of all patients, or names.
      seed: seed of the random choice.
      before: the part of each patient in an earlier split. Patients keep it, unless `validation`
        or `test` is a list of names that changes it.

    Raises:
      InputError: there are no patients, a fraction lies outside [0, 1), a name is unknown, a
        patient is in two parts, or no patient is left for training.
    """
    if not patients:
        raise InputError("no patients to split: check the input folder and the patterns")
    shares = {"test": test, "validation": validation}
    named = {key: tuple(s) for key, s in shares.items() if not isinstance(s, (int, float))}
    check_split({"train": (), **named}, patients, complete=False)
    taken = {name for names in named.values() for name in names}
    split = {
        key: [n for n in sorted(set(patients) - taken) if before.get(n) == key]
        for key in SPLITS
        if key not in named
    }
    free = sorted(set(patients) - taken - {name for names in split.values() for name in names})
    free = [free[i] for i in np.random.default_rng(seed).permutation(len(free))]
    for key, share in shares.items():
        if key not in named:
            if not 0 <= share < 1:  # type: ignore[operator]
                raise InputError(f"{key} = {share}: give a fraction in [0, 1) or patients' names")
            wanted = max(1, round(share * len(patients))) if share else 0  # type: ignore[operator]
            count = max(0, min(wanted - len(split[key]), len(free) - (not split["train"])))
            split[key], free = sorted(split[key] + free[:count]), free[count:]
    split["train"] = sorted(split["train"] + free)
    return check_split({key: named.get(key, split.get(key, ())) for key in SPLITS}, patients)


def check_split(
    split: Mapping[str, Sequence[str]], patients: Sequence[str], *, complete: bool = True
) -> Split:
    """Check that no patient is in two parts of the split and none is unknown.

    With `complete`, every patient must be in a part, and at least one must be in training. Raises
    InputError otherwise.
    """
    part_of: dict[str, str] = {}
    for key, names in split.items():
        if key not in SPLITS:
            raise InputError(f"split {key!r} is unknown: use {', '.join(SPLITS)}")
        for name in names:
            if name not in patients:
                raise InputError(f"split {key} names patient {name}, who is not in the data")
            if names.count(name) > 1:
                raise InputError(f"patient {name} is twice in {key}: name the patient once")
            if (other := part_of.setdefault(name, key)) != key:
                raise InputError(f"patient {name} is in {other} and in {key}: keep one of them")
    if complete:
        if lost := sorted(set(patients) - set(part_of)):
            raise InputError(f"patient {lost[0]} is in no split: name every patient once")
        if not split.get("train"):
            raise InputError("no patient is left for training: make validation or test smaller")
    return {key: tuple(names) for key, names in split.items()}


def parse_share(text: str, patients: Sequence[str]) -> Share:
    """Read a share from the command line: `0.2`, or the names `1PA001,1PA004`. Empty text is 0."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names and all(name in patients for name in names):
        return tuple(names)
    try:
        if "_" in text:  # Python reads 1_03 as 103
            raise ValueError(text)
        return float(text) if names else 0.0
    except ValueError:
        unknown = next(name for name in names if name not in patients)
        alike = [name for name in patients if name.startswith(unknown)]
        near = first_of(alike or list(patients))
        raise InputError(f"patient {unknown} is not in the data: give one of {near}") from None
