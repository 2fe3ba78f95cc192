"""What a run writes of itself, on good disks and full ones, and what a restart takes back."""

import json

import numpy as np
import pytest

from sde_ct.training.telemetry import Telemetry, memory_in_use, read_metrics

from .test_checkpoint import file_size_limit
from .test_loop import event_tags

FIGURES = {"loss": 0.5, "gradient_norm": 2.0, "learning_rate": 1e-3, "skipped": 0.0}


def write(workdir, start: int, end: int, **options) -> None:
    with Telemetry(workdir, "cnn", start, 10, batch=4, show=False, **options) as telemetry:
        for step in range(start + 1, end + 1):
            telemetry.advance()
            telemetry.scalars(step, "train", FIGURES | {"loss": step + start / 100})
        telemetry.progress(end, FIGURES)
        telemetry.warn(end, "look here")
        telemetry.images(end, "ct", np.zeros((2, 4, 3)))


def test_each_step_stands_once_whatever_was_cut_off(tmp_path):
    write(tmp_path, 0, 6)
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 7, "group": "tra')  # a kill in the middle of a line
    write(tmp_path, 4, 8)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    train = [(line["step"], line["loss"]) for line in lines if line["group"] == "train"]
    assert train == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5.04), (6, 6.04), (7, 7.04), (8, 8.04)]
    [pace] = [line for line in lines if line["group"] == "pace"]
    assert pace["images_per_second"] > 0 and pace["memory_gib"] * 2**30 <= memory_in_use()
    # 2 steps of 10 are left, and 4 images make a step.
    assert pace["seconds_left"] == pytest.approx(2 * 4 / pace["images_per_second"])
    assert [line["text"] for line in lines if line["group"] == "warning"] == ["look here"]
    assert len(files := sorted((tmp_path / "tensorboard").iterdir())) == 2
    assert {"train/loss", "pace/memory_gib", "warning/text_summary", "ct"} <= set(
        event_tags(files[1])
    )


def test_what_is_not_finite_is_null_and_each_line_json(tmp_path):
    with Telemetry(tmp_path, "cnn", 0, 2, batch=4, show=False) as telemetry:
        telemetry.scalars(1, "train", FIGURES | {"loss": float("nan")})
    [line] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found["loss"] is None and found["gradient_norm"] == 2.0


def test_a_full_disk_is_told_once_and_ends_nothing(tmp_path, caplog):
    write(tmp_path, 0, 1)
    size = (tmp_path / "metrics.jsonl").stat().st_size
    with file_size_limit(size + 100):
        write(tmp_path, 1, 9)
    told = [r.getMessage() for r in caplog.records if "can't be written" in r.getMessage()]
    assert len(told) == 1 and "File too large" in told[0]
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")][:1] == [1]
