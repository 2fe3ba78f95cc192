"""A dry run tells what a training would take, and leaves nothing."""

import re
import sys

import pytest

from sde_ct.errors import InputError
from sde_ct.training.dry_run import dry_run

from .. import tiny
from ..programs import call, listing
from . import cheap


def test_a_dry_run_tells_and_leaves_nothing(phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # Python's default, which a user has
    config = cheap.experiment(steps=1000)
    recipe = tiny.write_recipe(config, tmp_path / "cnn.py")
    before = listing(tmp_path)
    usual = [f"--config={recipe}", f"--data={phantoms.folder}"]
    done = call("train", *usual, f"--workdir={tmp_path / 'a' / 'run'}", "--dry_run")
    assert done.status == 0, done.err
    assert "train 3 patients, 18 slices; validation 1 patients, 6 slices" in done.out
    assert "MR (8, 20, 24, 1), CT (8, 20, 24, 1)" in done.out and "4 x cpu, 2 slices" in done.out
    # Parameters, their average and Adam's two moments: four arrays of 4 bytes a number.
    millions, size = re.search(r"([\d.]+) M parameters, ([\d.]+) MB", done.out).groups()
    assert float(size) * 1e6 == pytest.approx(16 * float(millions) * 1e6, rel=0.2)  # two digits
    assert float(re.search(r"memory: ([\d.]+) MB", done.out)[1]) > float(size)
    assert re.search(r"whole run: 1000 steps, \S+ (s|min|h),", done.out)
    assert listing(tmp_path) == before


def test_a_dry_run_refuses_what_the_training_would(runs, phantoms, tmp_path):
    workdir = runs("diffusion")
    before = listing(workdir)
    with pytest.raises(InputError, match="another configuration"):
        dry_run(cheap.experiment(), phantoms, workdir)
    assert listing(workdir) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        dry_run(cheap.experiment(), phantoms, tmp_path / "file")
