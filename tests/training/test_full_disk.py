"""A disk that is full for a while: the system's own errors in the middle of a training."""

import pytest

from sde_ct.errors import InputError, Interrupted
from sde_ct.training.checkpoint import Checkpoints
from sde_ct.training.telemetry import read_metrics

from ..runtime.test_interrupt import signal_at
from . import cheap
from .test_checkpoint import file_size_limit, listing


def full_from(monkeypatch, first: int, last: int) -> None:
    """No save of these steps finds room for more than 1000 bytes a file."""
    save = Checkpoints.save

    def limited(checkpoints, step, *arguments):
        if not first <= step <= last:
            return save(checkpoints, step, *arguments)
        with file_size_limit(1000):
            return save(checkpoints, step, *arguments)

    monkeypatch.setattr(Checkpoints, "save", limited)


def saved(workdir):
    """The checkpoints' files; what a failed save may still write goes at the next start."""
    files = listing(workdir / "checkpoints").items()
    return {name: content for name, content in files if ".part" not in name}


@pytest.mark.slow
def test_training_goes_on_and_the_earlier_checkpoints_stay(phantoms, tmp_path, monkeypatch):
    config = cheap.experiment(keep_checkpoints=2)
    with monkeypatch.context() as patch:
        full_from(patch, 4, 6)
        cheap.train(config, phantoms, tmp_path)
    assert Checkpoints(tmp_path).steps == [2, 8]
    lines = read_metrics(tmp_path / "metrics.jsonl")
    told = {line["step"]: line["text"] for line in lines if line["group"] == "warning"}
    assert set(told) == {4, 6} and "training goes on; a restart would go on from step 2" in told[6]

    def stopped_at(step: int):
        workdir = tmp_path / f"stopped-{step}"
        cheap.train(config, phantoms, workdir, stop_at=2)
        return workdir, saved(workdir)

    full_from(monkeypatch, 4, 8)
    workdir, before = stopped_at(8)
    with pytest.raises(InputError, match=r"8 could not be written .*make room.*from step 2"):
        cheap.train(config, phantoms, workdir)
    assert saved(workdir) == before
    workdir, before = stopped_at(5)
    signal_at(monkeypatch, 3, 15)
    with pytest.raises(Interrupted, match=r"SIGTERM at step 5; .*not be written.*from step 2"):
        cheap.train(config, phantoms, workdir)
    assert saved(workdir) == before
