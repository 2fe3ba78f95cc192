"""SIGTERM and Ctrl-C in the middle of a training, by the signals themselves.

`raise_signal` reaches this thread at once; `os.kill` may wake another one of the process.
"""

import contextlib
import signal

import numpy as np
import pytest

from sde_ct.errors import Interrupted
from sde_ct.runtime.interrupt import Interruption
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.telemetry import Telemetry

from .. import tiny
from ..programs import call
from ..training import cheap


def signal_at(monkeypatch, step: int, number: int) -> None:
    """Send this process a signal while step `step` is counted."""
    count, advance = [], Telemetry.advance

    def counted(telemetry):
        count.append(0)
        if len(count) == step:
            signal.raise_signal(number)
        advance(telemetry)

    monkeypatch.setattr(Telemetry, "advance", counted)


@contextlib.contextmanager
def usual_ctrl_c():
    """Python's own answer to SIGINT, which a shell has programs in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_sigterm_saves_and_the_same_command_goes_on(phantoms, tmp_path, monkeypatch):
    recipe = tiny.write_recipe(cheap.experiment(validate_every=3), tmp_path / "cnn.py")
    usual = [f"--config={recipe}", f"--data={phantoms.folder}"]
    assert call("train", *usual, f"--workdir={tmp_path / 'whole'}").status == 0
    with monkeypatch.context() as patch:
        signal_at(patch, 3, signal.SIGTERM)
        done = call("train", *usual, f"--workdir={tmp_path / 'run'}")
    assert done.status == 75 and "Traceback" not in done.err
    assert "stopped: SIGTERM at step 3; the same command continues from step 3." in done.err
    assert Checkpoints(tmp_path / "run").steps == [2, 3]
    assert call("train", *usual, f"--workdir={tmp_path / 'run'}").status == 0
    one, other = (cheap.saved_state(tmp_path / name, 8) for name in ("run", "whole"))
    np.testing.assert_array_equal(*(cheap.vector(state["params"]) for state in (one, other)))
    np.testing.assert_array_equal(one["ema"], other["ema"])


def test_a_signal_in_the_last_step_finds_the_run_at_its_end(phantoms, tmp_path, monkeypatch):
    signal_at(monkeypatch, 8, signal.SIGTERM)
    cheap.train(cheap.experiment(), phantoms, tmp_path)
    assert Checkpoints(tmp_path).latest == 8


def test_ctrl_c_is_polite_once(phantoms, tmp_path, monkeypatch):
    signal_at(monkeypatch, 4, signal.SIGINT)  # a step that is saved anyway
    with pytest.raises(Interrupted, match=r"SIGINT at step 4; .* from step 4"):
        cheap.train(cheap.experiment(), phantoms, tmp_path)
    before = signal.getsignal(signal.SIGINT)
    with usual_ctrl_c(), Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before
