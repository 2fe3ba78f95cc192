"""Training on: more steps in a work directory, and a start from another one's weights."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.methods.step import schedule
from sde_ct.synthesis import load
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.dry_run import dry_run
from sde_ct.training.experiment import read_experiment
from sde_ct.training.loop import prolonged
from sde_ct.training.telemetry import read_metrics

from .. import tiny
from ..programs import call, listing
from . import cheap


def rates(workdir) -> list[float]:
    lines = read_metrics(workdir / "metrics.jsonl")
    return [line["learning_rate"] for line in lines if line["group"] == "train"]


@pytest.mark.slow
def test_more_steps_give_what_the_longer_run_gives(phantoms, tmp_path, caplog):
    short, long = (cheap.experiment(steps=n, validate_every=4) for n in (8, 12))
    cheap.train(short, phantoms, tmp_path / "on")
    assert not caplog.messages
    on = cheap.train(long, phantoms, tmp_path / "on")
    whole = cheap.train(long, phantoms, tmp_path / "whole")
    for one, other in zip(*map(jax.tree.leaves, (on, whole)), strict=True):
        np.testing.assert_array_equal(one, other)
    [sentence] = caplog.messages
    assert "to step 12 instead of 8. From step 8 on" in sentence
    assert read_experiment(tmp_path / "on") == read_experiment(tmp_path / "whole")
    starts = json.loads((tmp_path / "on" / "run.json").read_text())["starts"]
    assert [start["config"]["training"]["steps"] for start in starts] == [8, 12]


def test_the_learning_rate_follows_the_longer_schedule(phantoms, tmp_path, caplog):
    short, long = (cheap.experiment(steps=n, decay=True) for n in (6, 12))
    cheap.train(short, phantoms, tmp_path)
    cheap.train(long, phantoms, tmp_path)
    by_short, by_long = (
        [float(schedule(c.training, c.training.learning_rate)(n)) for n in range(12)]
        for c in (short, long)
    )
    # float32 in a compiled step and outside of it
    np.testing.assert_allclose(rates(tmp_path), by_short[:6] + by_long[6:], rtol=1e-5)
    assert by_short[6] == 0 < by_long[6]
    assert f"it is {by_long[6]:.3g} there, and 0 by the shorter schedule" in caplog.messages[0]


def test_no_rate_is_told_of_a_network_with_two_schedules():
    short, long = (cheap.experiment(steps=n, decay=True) for n in (6, 12))
    assert "0 by the shorter schedule" in prolonged(Path("run"), short, long, 6)
    short.method = long.method = "residual"
    assert prolonged(Path("run"), short, long, 6).endswith("the schedule of the longer run.")


def test_only_more_steps_are_taken(phantoms, tmp_path):
    cheap.train(cheap.experiment(), phantoms, tmp_path)
    before = listing(tmp_path)
    other = cheap.experiment(steps=12, clip=2.0)
    for config, odd in ((cheap.experiment(steps=4), r"steps: 8 -> 4"), (other, r"clip: 1.0 -> 2")):
        with pytest.raises(InputError, match=rf"\(training\.{odd}.*only training\.steps may grow"):
            cheap.train(config, phantoms, tmp_path)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("method", ["diffusion", pytest.param("gan", marks=pytest.mark.slow)])
def test_a_training_starts_from_the_best_averaged_weights(method, runs, phantoms, tmp_path, caplog):
    theirs = load(runs(method))
    config = tiny.experiment(method, steps=1, learning_rate=1e-9)
    config.data.hu_high = 1500.0
    recipe = tiny.write_recipe(config, tmp_path / "recipe.py")
    usual = (f"--config={recipe}", f"--data={phantoms.folder}", f"--workdir={tmp_path / 'run'}")
    done = call("train", *usual, f"--init={runs(method)}")
    assert done.status == 0, done.err
    assert f"starts from the best weights of {runs(method)}, of step {theirs.step}." in caplog.text
    assert "differs from this one: data.hu_high: 2000.0 -> 1500.0." in caplog.text
    # One step at a rate of 1e-9 moves no weight by more than that; random weights differ by 0.1.
    ours = load(tmp_path / "run")
    for one, other in zip(*map(jax.tree.leaves, (ours.params, theirs.params)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    recorded = Checkpoints(tmp_path / "run").progress(1)["init"]
    assert recorded == {"workdir": str(runs(method).resolve()), **theirs.identity()}


@pytest.mark.slow
def test_the_same_command_goes_on_after_its_start_is_gone(phantoms, tmp_path):
    first = cheap.experiment(steps=2)
    cheap.train(first, phantoms, tmp_path / "a")
    cheap.train(cheap.experiment(), phantoms, tmp_path / "b", init=tmp_path / "a", stop_at=4)
    (tmp_path / "a").rename(tmp_path / "gone")
    state = cheap.train(cheap.experiment(), phantoms, tmp_path / "b", init=tmp_path / "a")
    assert int(state.step) == 8
    cheap.train(cheap.experiment(steps=9), phantoms, tmp_path / "b")
    assert Checkpoints(tmp_path / "b").progress(9)["init"]["step"] == 2


def test_unfit_weights_are_refused_before_anything_is_written(runs, phantoms, tmp_path):
    config = tiny.experiment()
    wide = tiny.experiment()
    wide.network.channels, wide.training.clip = 16, 2.0
    empty = tmp_path / "empty"
    empty.mkdir()
    before = listing(tmp_path)
    shape = r"another shape \(network\.channels: 8 -> 16\)"
    for other, init, sentence in (
        (wide, runs("diffusion"), shape),
        (config, runs("gan"), r"another shape \(method: gan -> diffusion\)"),
        (config, empty, "empty is not a work directory"),
        (config, tmp_path / "run", "is the --workdir: give the folder of another"),
    ):
        for start in (tiny.train, dry_run):
            with pytest.raises(InputError, match=sentence):
                start(other, phantoms, tmp_path / "run", init=init)
    assert listing(tmp_path) == before


def test_a_start_can_not_be_changed_later(runs, phantoms, tmp_path):
    config = tiny.experiment()
    before = listing(runs("diffusion"))
    with pytest.raises(InputError, match=r"from other weights: leave out --init and --teacher"):
        tiny.train(config, phantoms, runs("diffusion"), init=tmp_path)
    assert listing(runs("diffusion")) == before
    tiny.train(config, phantoms, tmp_path / "run", init=runs("diffusion"), stop_at=1)
    # In a recipe with a teacher, the flag that was given is called --teacher.
    sentence = r"weights of .*diffusion, not of .*gan: leave out --init and --teacher, or"
    with pytest.raises(InputError, match=sentence):
        tiny.train(config, phantoms, tmp_path / "run", init=runs("gan"))


@pytest.mark.slow
def test_a_run_whose_only_checkpoint_is_damaged_starts_from_the_same_weights_again(
    runs, phantoms, tmp_path
):
    config = tiny.experiment(learning_rate=1e-9)
    once = tiny.train(config, phantoms, tmp_path, init=runs("diffusion"), stop_at=1)
    (tmp_path / "checkpoints" / "1" / "progress.json").write_text("{")
    again = tiny.train(config, phantoms, tmp_path, init=runs("diffusion"), stop_at=1)
    for one, other in zip(*map(jax.tree.leaves, (once, again)), strict=True):
        np.testing.assert_array_equal(one, other)
