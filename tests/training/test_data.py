"""What is stored of the training data with a checkpoint."""

import json
import shutil
from dataclasses import replace

import pytest

from sde_ct.data import seen
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.data.prepared import read_prepared
from sde_ct.errors import InputError
from sde_ct.training.data import VOXELS, describe, other_patients
from sde_ct.training.experiment import write_experiment

from .. import tiny


def test_the_ranges_are_those_of_the_training_patients_as_synthesis_sees_them(phantoms):
    """A training patient's own figures lie within them, to the digits that are stored."""
    found = describe(tiny.experiment().data, phantoms)["seen"]
    assert found["patients"] == len(phantoms.split["train"]) == 3
    for case in phantoms.of("train"):
        shown = network_input(case.volume("mr"), RobustMR(), size=phantoms.size)
        for name, values in seen.figures(shown.grid, shown.body, shown.percentiles).items():
            low, high = found["figures"][name]
            values = values[values == values]
            assert low * 0.999 <= values.min() and values.max() <= high * 1.001, name


def test_a_work_directory_of_before_the_ranges_goes_on(phantoms, tmp_path):
    config = tiny.experiment()
    data = describe(config.data, phantoms)
    write_experiment(tmp_path, config, {k: v for k, v in data.items() if k != "seen"})
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)  # one that saved nothing binds nobody
    write_experiment(tmp_path, config, data)
    assert "seen" not in json.loads((tmp_path / "experiment.json").read_text())["data"]
    with pytest.raises(InputError, match="was trained on other data"):
        write_experiment(tmp_path, config, data | {"source": "elsewhere"})


def test_a_work_directory_of_before_a_part_of_the_record_goes_on(phantoms, tmp_path):
    config = tiny.experiment()
    data = describe(config.data, phantoms)
    older = {k: v for k, v in data["seen"].items() if k not in ("acquisition", "contrast")}
    write_experiment(tmp_path, config, data | {"seen": older})
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    write_experiment(tmp_path, config, data)
    assert json.loads((tmp_path / "experiment.json").read_text())["data"]["seen"] == older
    with pytest.raises(InputError, match="was trained on other data"):
        write_experiment(tmp_path, config, data | {"seen": data["seen"] | {"patients": 9}})


def test_a_work_directory_with_one_length_along_z_goes_on_and_keeps_it(phantoms, tmp_path):
    config = tiny.experiment()
    data = describe(config.data, phantoms)
    assert len(data["along_z_mm"]) == 5
    write_experiment(tmp_path, config, data | {"along_z_mm": 22.5})
    (tmp_path / "checkpoints" / "2").mkdir(parents=True)
    write_experiment(tmp_path, config, data)
    assert json.loads((tmp_path / "experiment.json").read_text())["data"]["along_z_mm"] == 22.5


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """Other patients with the names of `phantoms`."""
    return tiny.prepared_phantoms(tmp_path_factory.mktemp("others"), seed=1)


@pytest.fixture(scope="module", params=["hashes", "percentiles", "neither"])
def described(request, phantoms):
    """A record of the training data as this version and earlier ones write it, read from JSON."""
    missing = {"hashes": (), "percentiles": (VOXELS,), "neither": (VOXELS, "mr_percentiles")}
    data = json.loads(json.dumps(describe(tiny.experiment().data, phantoms)))
    return request.param, {k: v for k, v in data.items() if k not in missing[request.param]}


def test_other_patients_of_the_same_names_are_seen_where_the_record_tells(described, others):
    kind, record = described
    wrong = [] if kind == "neither" else ["1PA001", "1PA002", "1PA003"]
    assert other_patients(record, others) == wrong
    # A part of the patients, or other slices of theirs, cannot be told by summaries of percentiles.
    wrong = wrong if kind == "hashes" else []
    fewer = replace(others, cases={name: others.cases[name] for name in ("1PA002", "1PA005")})
    assert other_patients(record, fewer) == wrong[1:2]
    assert other_patients(record, replace(others, size=(32, 32))) == wrong


def test_the_same_patients_are_known_after_a_move_a_new_preparation_and_with_others(
    described, phantoms, others, tmp_path
):
    _, record = described
    moved = read_prepared(shutil.copytree(phantoms.folder, tmp_path / "moved"))
    again = tiny.prepared_phantoms(tmp_path / "again")
    further = {f"2PA00{i}": case for i, case in enumerate(others.cases.values())}
    longer = (*phantoms.split["train"], *further)
    extended = replace(
        phantoms,
        cases=phantoms.cases | {n: replace(c, id=n) for n, c in further.items()},
        split={**phantoms.split, "train": longer},
    )
    older = {
        name: replace(case, record={k: v for k, v in case.record.items() if k != VOXELS})
        for name, case in phantoms.cases.items()
    }
    for same in (phantoms, moved, again, extended, replace(phantoms, cases=older)):
        assert other_patients(record, same) == []
    assert describe(tiny.experiment().data, replace(phantoms, cases=older))[VOXELS] == {}


def test_one_other_patient_is_seen_by_the_hash(phantoms, others):
    record = describe(tiny.experiment().data, phantoms)
    mixed = replace(phantoms, cases=phantoms.cases | {"1PA002": others.cases["1PA002"]})
    assert other_patients(record, mixed) == ["1PA002"]
