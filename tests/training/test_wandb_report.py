"""Weights & Biases, offline: nothing leaves the machine."""

import importlib.util
import os
import subprocess
import sys

import pytest

from sde_ct.training.telemetry import read_metrics

from .. import tiny
from ..programs import ROOT, call
from . import cheap

PROGRAM = """
import json, pathlib, socket, sys
socket.gethostname = lambda: "scanner-room"
from sde_ct.config import Experiment
from sde_ct.training.wandb_report import wandb_report
workdir = pathlib.Path(sys.argv[1])
(workdir / "run.json").write_text(json.dumps({"starts": [{"time": "2026"}]}))
report = wandb_report("test", workdir, Experiment())
report(3, {"train/loss": 0.5})
"""


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="pip install 'sde-ct[wandb]'")
def test_figures_go_to_wandb_and_no_path_does(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "--data=anna"]
    offline = {"WANDB_MODE": "offline"}
    subprocess.run(command, cwd=ROOT, env=os.environ | offline, check=True, timeout=120)
    [stored] = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    content = stored.read_bytes()
    assert b"train/loss" in content and b"learning_rate" in content  # figures, configuration
    assert b"anna" not in content and tmp_path.name.encode() not in content
    assert b"scanner-room" not in content  # the name of the machine
    assert not list((tmp_path / "wandb").rglob("requirements.txt"))


def test_every_written_figure_is_reported(phantoms, tmp_path):
    told = []
    cheap.train(
        cheap.experiment(steps=4),
        phantoms,
        tmp_path,
        report=lambda step, figures: told.extend((step, *figure) for figure in figures.items()),
    )
    lines = read_metrics(tmp_path / "metrics.jsonl")
    written = [
        (line["step"], f"{line['group']}/{name}", value)
        for line in lines
        for name, value in line.items()
        if name not in ("step", "group")
    ]
    assert len(told) > 4 * 5 and sorted(told) == sorted(written)


def test_without_wandb_the_flag_is_refused(phantoms, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    recipe = tiny.write_recipe(cheap.experiment(steps=4), tmp_path / "cnn.py")
    usual = [f"--config={recipe}", f"--data={phantoms.folder}", f"--workdir={tmp_path / 'run'}"]
    done = call("train", *usual, "--wandb_project=test")
    assert "pip install 'sde-ct[wandb]'" in done.error and not (tmp_path / "run").exists()
