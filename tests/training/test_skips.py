"""Updates that are not finite: skipped, counted, and beyond a limit a way back or a clear end."""

import json

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.training import loop, run
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.data import TrainingBatches
from sde_ct.training.telemetry import read_metrics

from .. import tiny
from . import cheap


def spoil(monkeypatch, batches: set[int], times: int = 99) -> None:
    """Put NaN into the batches of these numbers, each as often as `times`."""
    seen = []

    class Spoilt(TrainingBatches):
        def __next__(self):
            number = self.get_state()["next_index"]
            batch = super().__next__()
            seen.append(number)
            wrong = number in batches and seen.count(number) <= times
            return batch._replace(ct=batch.ct * (np.nan if wrong else 1))

    monkeypatch.setattr(loop, "TrainingBatches", Spoilt)


def figures(workdir, group: str = "train") -> dict[int, dict]:
    lines = read_metrics(workdir / "metrics.jsonl")
    return {line["step"]: line for line in lines if line["group"] == group}


def progress(workdir, step: int) -> dict:
    return json.loads((workdir / "checkpoints" / str(step) / "progress.json").read_text())


def test_a_skipped_update_leaves_no_trace(phantoms, tmp_path, monkeypatch):
    spoil(monkeypatch, {3})
    config = cheap.experiment(steps=5, checkpoint_every=1, keep_checkpoints=9)
    cheap.train(config, phantoms, tmp_path)
    # Right after a skipped update is no good place to come back to.
    assert Checkpoints(tmp_path).steps == [1, 2, 3, 5]
    assert [line["skipped"] for line in figures(tmp_path).values()] == [0, 0, 0, 1, 1]
    assert "loss" in figures(tmp_path, "warning")[4]["text"]
    saved = [cheap.saved_state(tmp_path, step) for step in (1, 2, 3, 5)]
    assert [int(state["step"]) for state in saved] == [1, 2, 3, 4]
    # What was saved also shows the moving average from update to update.
    ema = cheap.vector(tiny.initial_state(config, phantoms).params)
    for update, state in enumerate(saved):
        params = cheap.vector(state["params"])
        assert np.isfinite(params).all()
        decay = min(config.training.ema, (1 + update) / (10 + update))  # 0.1, 2/11, then 0.2
        ema = decay * ema + (1 - decay) * params
        np.testing.assert_allclose(state["ema"], ema, rtol=1e-5, atol=1e-7)  # float32 sums


def test_beyond_the_limit_it_ends_and_names_the_cases(phantoms, tmp_path, monkeypatch):
    spoil(monkeypatch, {4, 5, 6})
    config = cheap.experiment(skip_limit=1)
    with pytest.raises(InputError, match=r"2 updates.* step 6 \(batch 5: 1PA\S+:\d") as end:
        cheap.train(config, phantoms, tmp_path)
    assert Checkpoints(tmp_path).latest == 4
    # The cases are those whose CT the batch held.
    data = cheap.without_validation(phantoms)
    batches = TrainingBatches(config.data, data, config.training.seed)
    for number in range(6):
        batch, cases = next(batches), batches.cases(number)
        for ct, example in zip(batch.ct, cases, strict=True):
            case, z = example.rsplit(":", 1)
            hu = np.clip(data.cases[case].load("ct")[int(z)], -1000, 2000)
            np.testing.assert_allclose(ct.mean(), (hu / 1500 - 1 / 3).mean(), atol=1e-5)
    assert all(case in str(end.value) for case in cases)


@pytest.mark.slow
def test_a_recipe_may_go_back_once_and_go_on_more_slowly(phantoms, tmp_path, monkeypatch):
    spoil(monkeypatch, {4, 5}, times=1)
    config = cheap.experiment(skip_limit=1, rollback_rate=0.25, warmup=0)
    cheap.train(config, phantoms, tmp_path)
    rates = [line["learning_rate"] for line in figures(tmp_path).values()]
    np.testing.assert_allclose(rates, [1e-2] * 4 + [2.5e-3] * 4, rtol=1e-6)
    assert "Back to step 4" in figures(tmp_path, "warning")[4]["text"]
    assert progress(tmp_path, 8)["slowed"] == 0.25  # where a restart would go on from
    spoil(monkeypatch, {4, 5})
    with pytest.raises(InputError, match="2 updates"):  # the second time
        cheap.train(config, phantoms, tmp_path / "again")


def test_a_training_that_ends_on_skipped_updates_is_an_error(phantoms, tmp_path, monkeypatch):
    """Fewer than the limit; what was saved before stays, and the same command fails again."""
    spoil(monkeypatch, {5, 6, 7})
    config = cheap.experiment()
    for _ in range(2):
        with pytest.raises(InputError, match=r"the last 3 updates were skipped.*: check these"):
            cheap.train(config, phantoms, tmp_path)
        assert Checkpoints(tmp_path).latest == 4


def test_a_last_validation_that_is_not_finite_is_an_error(phantoms, tmp_path, monkeypatch):
    losses = {"loss": float("nan")}
    monkeypatch.setattr(run, "validator", lambda *_: lambda state, step: losses)
    with pytest.raises(InputError, match=r"the last validation loss is not finite .*: check"):
        cheap.train(cheap.experiment(), phantoms, tmp_path)
    assert Checkpoints(tmp_path).latest == 6


def test_a_training_that_skipped_every_update_is_an_error(phantoms, tmp_path, monkeypatch):
    """It is shorter than the limit, and its weights are those it began with."""
    spoil(monkeypatch, set(range(8)))
    with pytest.raises(InputError, match=r"all 8 updates were skipped.*batch: 1PA\S+:\d") as end:
        cheap.train(cheap.experiment(), phantoms, tmp_path)
    assert str(end.value).startswith(f"{tmp_path}: ") and Checkpoints(tmp_path).latest is None
