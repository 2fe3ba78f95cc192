"""The weights of a checkpoint are the same from its own file of them and from its state."""

import json

import pytest

from sde_ct.errors import InputError
from sde_ct.training import weights

from .. import tiny


@pytest.mark.parametrize("method", ["cnn", "gan", "diffusion", "residual", "joint", "distilled"])
def test_checkpoints_of_earlier_versions_have_the_same_weights(method, phantoms, tmp_path):
    """Bit for bit, and of the same type, so that hashes in the records of outputs stay valid."""
    workdir = tiny.untrained(tiny.experiment(method), phantoms, tmp_path / "run")
    new = weights.read_weights(workdir, *weights.choose(workdir, "best")).params
    folder = workdir / "checkpoints" / "0"
    (folder / "weights.msgpack").unlink()
    with pytest.raises(InputError, match=r"0 is damaged \(weights.msgpack is missing"):
        weights.read_weights(workdir, 0, "newest")
    digests = json.loads((folder / "digest.json").read_text())
    del digests["weights.msgpack"]
    (folder / "digest.json").write_text(json.dumps(digests))
    old = weights.read_weights(workdir, 0, "newest").params
    assert type(new) is type(old) and weights.sha256(new) == weights.sha256(old)


def test_the_weights_are_read_without_the_training_state(phantoms, tmp_path, monkeypatch):
    workdir = tiny.untrained(tiny.experiment("cnn"), phantoms, tmp_path / "run")
    monkeypatch.setattr(weights.Checkpoints, "restore", None)  # which would take longer
    weights.read_weights(workdir, 0, "newest")
