"""run.json: every start with what it was started with."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest

from sde_ct.config_record import to_dict
from sde_ct.data.prepared import read_prepared
from sde_ct.errors import InputError
from sde_ct.training.experiment import record_start

from .. import tiny


def starts(workdir) -> list[dict]:
    return json.loads((workdir / "run.json").read_text())["starts"]


def test_every_start_is_recorded_and_other_voxels_are_refused(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch/train.py", "--config=x.py"])
    config, devices = tiny.experiment(), jax.devices()[:2]
    data = read_prepared(shutil.copytree(phantoms.folder, tmp_path / "data"))
    for step in (0, 12):
        record_start(tmp_path, config, data, devices, step)
    first, second = starts(tmp_path)
    assert (first["step"], second["step"]) == (0, 12)
    assert first["config"] == json.loads(json.dumps(to_dict(config)))
    assert first["command"][1:] == ["launch/train.py", "--config=x.py"]
    assert len(first["devices"]) == 2 and first["versions"]["jax"] == jax.__version__
    assert first["git"] is None or len(first["git"]["commit"]) == 40
    assert first["data_sha256"] == second["data_sha256"]

    path = next(data.folder.rglob("ct.npy"))
    ct = np.load(path)
    ct.flat[5] += 1
    np.save(path, ct)
    with pytest.raises(InputError, match=r"other data.*--workdir"):
        record_start(tmp_path, config, data, devices, 12)
    assert len(starts(tmp_path)) == 2
    record_start(tmp_path, config, data, devices, 0)  # the starts before saved nothing
    assert len(starts(tmp_path)) == 3
    (tmp_path / "run.json").write_text("{")  # a record: its damage keeps nobody from training
    record_start(tmp_path, config, data, devices, 12)
    assert len(starts(tmp_path)) == 1
