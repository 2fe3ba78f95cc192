"""A prepared data set holds all that it needs, and takes few file descriptors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sde_ct.data.prepared import read_prepared
from sde_ct.lab.benchmark.frontier import frontier
from sde_ct.lab.comparison import held_out
from sde_ct.synthesis import load

from .. import tiny
from ..programs import call

ROOT = Path(__file__).resolve().parents[2]


def test_a_set_that_was_moved_trains_calibrates_and_runs_the_frontier(tmp_path):
    data = tiny.prepared_phantoms(tmp_path / "first", patients=4)
    moved = Path(shutil.move(data.folder, tmp_path / "second"))
    shutil.rmtree(tmp_path / "first")
    text = (moved / "dataset.json").read_text()
    assert str(tmp_path) not in text
    prepared, run = read_prepared(moved), tmp_path / "run"
    tiny.train(tiny.experiment(steps=4, checkpoint_every=4), prepared, run, devices=1)
    done = call("calibrate", f"--workdir={run}", f"--data={moved}", "--sampler=em", "--draws=2")
    assert done.status == 0 and (run / "calibration.json").exists(), done.error
    points = list(frontier(load(run), held_out(prepared), ["em"], [12], reference=12, draws=2))
    assert [point.evaluations for point in points] == [12, 24]  # one draw, and the mean of two


TRAIN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from pathlib import Path
from sde_ct.data.prepared import read_prepared
from tests import tiny
data = read_prepared(sys.argv[1])
state = tiny.train(tiny.experiment("cnn", steps=2), data, Path(sys.argv[2]), devices=1)
"""


@pytest.mark.slow
def test_a_thousand_patients_train_under_256_descriptors(tmp_path):
    """Before, each held three: 330 patients were the most under the usual limit of 1024."""
    folder = tiny.prepared_phantoms(tmp_path, patients=3).folder
    index = json.loads((folder / "dataset.json").read_text())
    (first,) = index["split"]["train"]
    for n in range(1000):
        name = f"copy{n}"
        shutil.copytree(folder / "cases" / first, folder / "cases" / name, copy_function=os.link)
        index["cases"][name] = index["cases"][first]
        index["split"]["train"].append(name)
    (folder / "dataset.json").write_text(json.dumps(index))
    words = [sys.executable, "-c", TRAIN, str(folder), str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
