"""Records are read back as the types that they were written from, or refused by a field's name."""

import copy
import json
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest
from jaxtyping import Float

from sde_ct.acceptance import reference
from sde_ct.data.prepared import read_prepared
from sde_ct.errors import InputError
from sde_ct.storage.records import Count, Positive, Share, built, restored
from sde_ct.training.experiment import read_experiment
from sde_ct.uncertainty import recalibration

from .. import tiny
from ..acceptance.test_verdict import fit_on
from ..broken_runs import CALIBRATION


class Inner(TypedDict):
    share: Share
    more: NotRequired[list[int]]


def test_values_keep_their_kind():
    assert restored(tuple[Count, float], [3, 0.5]) == (3, 0.5)
    assert restored(list[float], [1, 2.5]) == [1, 2.5]
    assert restored(dict[float, str], {"0.5": "a"}) == {0.5: "a"}
    assert restored(str | None, None) is None and restored(list[int] | float, 2.0) == 2.0
    assert restored(Inner, {"share": 0.5, "other": 1}) == {"share": 0.5, "other": 1}
    array = restored(Float[np.ndarray, "n d"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(array, [[1.0, 2], [3, 4]])


WRONG = [
    (float, "1", "it is '1', not a finite number"),
    (float, True, "it is True, not a finite number"),
    (float, float("nan"), "not a finite number"),
    (float, 10**400, "not a finite number"),
    (int, 1.5, "not a whole number"),
    (Count, 0, "it is 0, not a whole number above 0"),
    (Share, 1, "not a number above 0 and below 1"),
    (tuple[int, int], [1], "not a list of 2"),
    (list[int], "12", "not a list"),
    (dict[str, Positive], {"a": -1}, "it.a is -1, not a number above 0"),
    (dict[float, str], {"x": "a"}, "could not convert"),
    (Float[np.ndarray, "n d"], [[1], [1, 2]], "not an array of numbers"),
    (Float[np.ndarray, "n"], [[1.0]], "not an array of numbers"),
    (Float[np.ndarray, "n"], [None], "not an array of numbers"),
    (Inner, {"share": 0.5, "more": [1, "2"]}, r"it.more\[1\] is '2', not a whole number"),
    (Inner, {}, "it lacks 'share'"),
    (Inner, [], "not an object"),
]


@pytest.mark.parametrize(("hint", "value", "sentence"), WRONG)
def test_a_value_of_another_kind_is_refused_by_its_name(hint, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        restored(hint, value)


def test_a_class_is_built_of_its_fields():
    values = CALIBRATION["factors"]
    assert built(recalibration.ByTissue, values | {"fat": 1}) == recalibration.ByTissue(1, 1, 1)
    with pytest.raises(ValueError, match="factors lacks 'bone'"):
        built(recalibration.ByTissue, {"air": 1, "soft": 1}, "factors")


def spoilt(record: Any, most: int = 3):
    """Copies of a record, each with one value replaced or left out; `most` of every list."""

    def places(value, path=()):
        if path:
            yield path
        pairs = value.items() if isinstance(value, dict) else enumerate(value[:most])
        for key, one in pairs:
            if isinstance(one, dict | list):
                yield from places(one, (*path, key))
            else:
                yield (*path, key)

    for *path, last in places(record):
        for other in ("x", None, -1, 1e9, True, [], {}, [[]], "gone"):
            changed = copy.deepcopy(record)
            holder = changed
            for key in path:
                holder = holder[key]
            if other == "gone":
                del holder[last]
            else:
                holder[last] = other
            yield changed


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The file of every record, and how it is read."""
    root = tmp_path_factory.mktemp("records")
    data = tiny.prepared_phantoms(root)
    tiny.untrained(tiny.experiment("cnn"), data, root / "run")
    reference.write(root / reference.NAME, fit_on([100, 101, 102]))
    (root / recalibration.NAME).write_text(json.dumps(CALIBRATION))
    return {
        "acceptance": (root / reference.NAME, reference.read),
        "calibration": (root / recalibration.NAME, recalibration.read),
        "experiment": (root / "run/experiment.json", lambda path: read_experiment(path.parent)),
        "dataset": (data.folder / "dataset.json", lambda path: read_prepared(path.parent)),
    }


@pytest.mark.parametrize("name", ["acceptance", "calibration", "experiment", "dataset"])
def test_a_record_with_any_damage_is_read_or_refused_in_a_sentence(name, records):
    path, read = records[name]
    text, refused = path.read_text(), 0
    read(path)
    record = json.loads(text)
    if name == "acceptance":  # the rest of its slices and patients is alike
        record["asymmetries"] = {k: record["asymmetries"][k] for k in ("p0", "p1")}
        for key in ("positions", "slices", "patients"):
            record["atlas"][key] = record["atlas"][key][:24]
    if name == "dataset":
        case = record["split"]["train"][0]
        record["split"], record["cases"] = {"train": [case]}, {case: record["cases"][case]}
    for changed in spoilt(record):
        path.write_text(json.dumps(changed))
        try:
            read(path)
        except InputError as error:
            refused += 1
            assert path.name in str(error) or "missing" in str(error), error
    path.write_text(text)
    assert refused > 50
