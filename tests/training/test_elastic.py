"""A checkpoint of D devices goes on on D', with the same batches in the same order."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from sde_ct.training.checkpoint import Checkpoints

from .. import tiny
from ..programs import ROOT
from . import cheap

# The same sums in another order. Adam divides by the gradient's size, which turns the rounding of
# near-zero gradients into steps of the learning rate: hence a share of the way gone since.
TOLERANCE = 1e-2


def gap(state, other, start) -> float:
    """The distance of two ends over the way from the start."""
    # Of the residual method, the network in training.
    states = (x.get("active", x) for x in (state, other, start))
    a, b, o = (cheap.vector(jax.device_get(x["params"])) for x in states)
    assert np.linalg.norm(b - o) > 0.1
    return float(np.linalg.norm(a - b) / np.linalg.norm(b - o))


def iterator(workdir: Path, step: int) -> str:
    return (workdir / "checkpoints" / str(step) / "progress.json").read_text()


def cut(workdir: Path, step: int, copy: Path) -> Path:
    """A copy of a work directory that ends at a step."""
    shutil.copytree(workdir, copy)
    for later in Checkpoints(copy).steps:
        if later > step:
            shutil.rmtree(copy / "checkpoints" / str(later))
    return copy


@pytest.mark.slow
def test_what_four_devices_began_one_ends(runs, phantoms, tmp_path):
    whole = runs("diffusion")
    workdir = cut(whole, 12, tmp_path / "run")
    tiny.train(tiny.experiment(), phantoms, workdir, devices=1)
    ends = [cheap.saved_state(folder, 24) for folder in (workdir, whole)]
    assert gap(*ends, cheap.saved_state(whole, 12)) < TOLERANCE
    assert '"next_index": 24' in iterator(workdir, 24) and '"next_index": 24' in iterator(whole, 24)


@pytest.mark.slow
def test_a_residual_training_goes_from_one_to_two_devices_and_back(phantoms, tmp_path):
    """The devices change while the regression is trained, and while the denoiser is trained."""
    config = tiny.experiment("residual", **cheap.OFTEN | {"steps": 24, "checkpoint_every": 8})
    data, whole = cheap.without_validation(phantoms), tmp_path / "whole"
    tiny.train(config, data, whole, devices=1, stop_at=8)
    workdir = cut(whole, 8, tmp_path / "run")
    start = cheap.saved_state(whole, 8)
    tiny.train(config, data, whole, devices=1)
    tiny.train(config, data, workdir, devices=2, stop_at=16)
    tiny.train(config, data, workdir, devices=1)
    ends = [cheap.saved_state(folder, 24) for folder in (workdir, whole)]
    np.testing.assert_allclose(ends[0]["regression"], ends[1]["regression"], atol=1e-4)
    assert gap(*ends, start) < TOLERANCE
    assert iterator(workdir, 24) == iterator(whole, 24)


def every_pair(root: Path) -> None:
    """Run with 8 devices: 8 steps on D of them, 8 more on D', for all pairs."""
    data, config = tiny.prepared_phantoms(root), cheap.experiment(steps=16, checkpoint_every=8)
    data = cheap.without_validation(data)
    counts = (1, 2, 4, 8)
    for count in counts:
        tiny.train(config, data, root / str(count), devices=count)
    worst = 0.0
    for first, then in itertools.permutations(counts, 2):
        workdir = cut(root / str(first), 8, root / f"{first}-{then}")
        tiny.train(config, data, workdir, devices=then)
        ends = [cheap.saved_state(folder, 16) for folder in (workdir, root / str(first))]
        found = gap(*ends, cheap.saved_state(workdir, 8))
        print(f"{first} -> {then} devices: {found:.1e} of the way", flush=True)
        worst = max(worst, found)
        assert (
            iterator(workdir, 16).split('"iterator"')[1]
            == iterator(root / str(first), 16).split('"iterator"')[1]
        )
    assert worst < TOLERANCE


@pytest.mark.slow
def test_every_pair_of_device_counts(tmp_path):
    program = (
        "import sys, pathlib\n"
        "from tests.training.test_elastic import every_pair\n"
        "every_pair(pathlib.Path(sys.argv[1]))"
    )
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | flags, capture_output=True, text=True, timeout=900
    )
    print(done.stdout)
    assert done.returncode == 0 and done.stdout.count("devices:") == 12, done.stderr[-3000:]
