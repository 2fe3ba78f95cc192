"""The kill drill: trainings killed by SIGKILL end as one that was left alone, bit for bit."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sde_ct.lab.drill import differences, until_the_end
from sde_ct.methods import build_method
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.state import fresh_state

from .. import tiny
from ..programs import ROOT
from ..training import cheap


def drill(phantoms, tmp_path, method: str, kills: int, *flags: str, **training) -> dict[str, int]:
    """The kinds of the kills, when the drill says that the final states are the same."""
    config = tiny.experiment(method, **cheap.OFTEN | training)
    # Of 150 steps, the regression has 3, because most kills come in the first ten.
    config.residual.denoiser_share = 0.98
    recipe = tiny.write_recipe(config, tmp_path / "recipe.py")
    command = [
        *(sys.executable, "launch/drill.py", f"--config={recipe}", f"--data={phantoms.folder}"),
        *(f"--output={tmp_path / 'drill'}", f"--kills={kills}", *flags),
    ]
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the final states are the same, bit for bit" in done.stdout
    last = next(line for line in done.stdout.splitlines() if re.match(r"\d+ kills: ", line))
    found = {kind: int(n) for n, kind in re.findall(r"(\d+) in a (first save|\w+)", last)}
    assert sum(found.values()) == kills
    return found


def test_the_comparison_sees_one_bit_and_a_step_made_twice(phantoms, tmp_path):
    whole, other = tmp_path / "whole", tmp_path / "other"
    config = cheap.experiment(steps=4)
    cheap.train(config, phantoms, whole)
    shutil.copytree(whole, other)
    assert differences(whole, other) == []
    lines = (other / "metrics.jsonl").read_text().splitlines(keepends=True)
    with (other / "metrics.jsonl").open("a") as file:
        file.writelines(line for line in lines if '"step": 3, "group": "train"' in line)
    assert differences(whole, other) == ["train figures of step 3", "metrics.jsonl"]
    (other / "metrics.jsonl").write_text("".join(lines))

    checkpoints = Checkpoints(other)
    method = build_method(config)
    state, progress = checkpoints.restore(lambda: fresh_state(method, config, phantoms.size))
    ema = np.array(state.ema)
    ema.view(np.uint32)[5] ^= 1
    state = state._replace(ema=ema)
    progress |= {"iterator": {"next_index": 5}}
    checkpoints.save(6, state, method.weights(state), progress)
    assert differences(whole, other) == [".ema", "iterator"]


BRIEF = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1]) / "checkpoints"
for step in range(2, 1000, 2):
    (part := folder / f"{step}.part").mkdir(parents=True)
    time.sleep(0.01)
    part.rename(folder / str(step))
"""


def test_a_save_of_10_ms_is_hit_though_the_first_kill_waits_for_longer(tmp_path):
    """The first wait is up to 50 ms (28 with this seed), so it misses the first save."""
    command = [sys.executable, "-c", BRIEF, str(tmp_path / "run")]
    fate = next(until_the_end(command, tmp_path / "run", 1, 1, tmp_path / "log"))
    assert fate.kind == "first save"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["2.part"]


@pytest.mark.slow
def test_a_training_killed_24_times_ends_the_same(phantoms, tmp_path):
    """Both networks and both optimisers of a GAN, with looks at a validation set between."""
    found = drill(phantoms, tmp_path, "gan", 24, steps=600, validate_every=50)
    assert all(found[kind] >= 1 for kind in ("first save", "save", "step"))


@pytest.mark.slow
def test_a_residual_training_killed_6_times_ends_the_same(phantoms, tmp_path):
    """Before the denoiser begins, and after."""
    drill(phantoms, tmp_path, "residual", 6, steps=150, validate_every=50)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["joint", "distilled"])
def test_a_training_with_a_teacher_killed_6_times_ends_the_same(method, runs, phantoms, tmp_path):
    teacher = f"--teacher={runs('residual')}"
    drill(phantoms, tmp_path, method, 6, teacher, steps=150, validate_every=50)
