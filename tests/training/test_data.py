"""What is stored of the training data with a checkpoint."""

import json

import pytest

from sde_ct.data import seen
from sde_ct.data.inputs import network_input
from sde_ct.data.intensity import RobustMR
from sde_ct.errors import InputError
from sde_ct.training.data import describe
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
