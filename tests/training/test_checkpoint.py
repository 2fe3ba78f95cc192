"""Checkpoints on bad disks: damage is found and set aside, a failed save changes nothing."""

import json
import math
import re
import resource
import shutil
import signal
from contextlib import contextmanager

import numpy as np
import pytest

from sde_ct.errors import InputError
from sde_ct.training.checkpoint import Checkpoints, SaveError

from ..programs import listing


def state(step: int) -> dict:
    """About 100 kB that does not compress."""
    rng = np.random.default_rng(step)
    return {"params": {"w": rng.normal(size=(100, 128))}, "step": np.array(step, np.int32)}


def save(checkpoints: Checkpoints, step: int, progress: dict) -> None:
    checkpoints.save(step, state(step), state(step)["params"], progress)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A work directory with the checkpoints 2, 4 and 6; nobody writes to it."""
    workdir = tmp_path_factory.mktemp("three")
    checkpoints = Checkpoints(workdir, keep=3)
    for step in (2, 4, 6):
        save(checkpoints, step, {"iterator": {"next_index": step}})
    return workdir


@pytest.fixture
def workdir(three, tmp_path):
    return shutil.copytree(three, tmp_path / "run")


def newest(workdir):
    return Checkpoints(workdir).restore(lambda: state(0))


def test_what_is_saved_comes_back_and_the_oldest_goes(workdir):
    checkpoints = Checkpoints(workdir, keep=2)
    save(checkpoints, 8, {"iterator": {"next_index": 8}})
    assert checkpoints.steps == [6, 8] and checkpoints.tidy() == []
    tree, progress = newest(workdir)
    np.testing.assert_array_equal(tree["params"]["w"], np.float32(state(8)["params"]["w"]))
    assert int(tree["step"]) == progress["iterator"]["next_index"] == 8


def test_the_weights_come_back_alone(workdir):
    """Bit for bit, also where the rest of the checkpoint is damaged; None where they are missing,
    as in checkpoints of earlier versions."""
    folder = workdir / "checkpoints" / "6"
    shutil.rmtree(folder / "state")
    weights, progress = Checkpoints(workdir).weights(6)
    np.testing.assert_array_equal(weights["w"], state(6)["params"]["w"])
    assert progress["iterator"]["next_index"] == 6
    for name in ("weights.msgpack", "progress.json"):
        flip(folder / name)
        with pytest.raises(InputError, match=rf"6 is damaged \({name} has changed.*again, which"):
            Checkpoints(workdir).weights(6)
        flip(folder / name)
    (folder / "weights.msgpack").unlink()
    assert Checkpoints(workdir).weights(6) is None


def save_with_losses(workdir, losses: dict[int, float | None], keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(workdir, keep)
    for step, loss in losses.items():
        save(checkpoints, step, {"validation_loss": loss})
    return checkpoints


def test_the_best_checkpoint_stays_beside_the_newest(tmp_path):
    checkpoints = save_with_losses(tmp_path, {2: 0.5, 4: 0.1, 6: None, 8: 0.3, 10: 0.2})
    assert checkpoints.steps == [4, 8, 10] and checkpoints.best == 4
    assert checkpoints.latest == 10 and checkpoints.best_loss == 0.1
    save(checkpoints, 12, {"validation_loss": 0.05})
    assert checkpoints.steps == [10, 12] and checkpoints.best == 12


def test_a_loss_that_is_not_a_number_never_displaces_the_best(tmp_path):
    """NaN compares as neither smaller nor larger, so that min() returns it where it comes first."""
    losses = {2: 0.5, 4: 0.1, 6: math.nan, 8: 0.3, 10: math.nan}
    checkpoints = save_with_losses(tmp_path, losses)
    assert checkpoints.best == 4 and checkpoints.best_loss == 0.1
    assert checkpoints.steps == [4, 8, 10]


def test_without_a_validation_loss_the_newest_is_the_best(three):
    assert Checkpoints(three).best == Checkpoints(three).latest == 6


def test_a_damaged_best_checkpoint_is_set_aside_too(tmp_path):
    save_with_losses(tmp_path, {2: 0.1, 4: 0.3, 6: 0.2, 8: None})
    flip(largest(tmp_path / "checkpoints" / "2"))
    [sentence] = Checkpoints(tmp_path).tidy()
    assert "set aside as 2.damaged" in sentence
    assert Checkpoints(tmp_path).steps == [6, 8] and Checkpoints(tmp_path).best == 6


def flip(path, where: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 0x10
    path.write_bytes(content)


def empty(folder) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


DAMAGE = {
    "truncated": (lambda f: largest(f).write_bytes(largest(f).read_bytes()[:1000]), "has changed"),
    "flipped": (lambda f: flip(largest(f)), "has changed since"),
    "half-written": (lambda f: largest(f).unlink(), "is missing"),
    "without arrays": (lambda f: shutil.rmtree(f / "state"), "is missing"),
    "without progress": (lambda f: (f / "progress.json").unlink(), "progress.json is missing"),
    "empty": (empty, "is empty"),
    "without digest": (lambda f: (f / "digest.json").unlink(), "no digest.json"),
    "bad digest": (lambda f: (f / "digest.json").write_text("{"), "digest.json can't be read"),
    "empty digest": (lambda f: (f / "digest.json").write_text("{}"), "digest.json names no"),
    "file": (lambda f: (shutil.rmtree(f), f.write_text("")), "is not a folder"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_newest_checkpoint_is_set_aside(name, workdir):
    damage, why = DAMAGE[name]
    damage(workdir / "checkpoints" / "6")
    before = listing(workdir)
    with pytest.raises(InputError, match=rf"checkpoints/6 is damaged \(.*{why}.*again, which"):
        newest(workdir)  # as synthesis does: it changes nothing and takes no other
    assert listing(workdir) == before
    [told] = Checkpoints(workdir).tidy()
    assert "checkpoints/6 is damaged" in told and "set aside as 6.damaged" in told
    assert (workdir / "checkpoints" / "6.damaged").exists()
    assert newest(workdir)[1]["iterator"]["next_index"] == 4


def test_every_flipped_byte_is_found(workdir):
    """In every file, at its start, middle and end; Orbax alone misses some of them."""
    folder, found = workdir / "checkpoints" / "6", 0
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        content = path.read_bytes()
        for where in {0, len(content) // 2, len(content) - 2} if content else ():
            flip(path, (where + 0.5) / len(content))
            with pytest.raises(InputError, match="is damaged"):
                newest(workdir)
            path.write_bytes(content)
            found += 1
    assert found > 20 and newest(workdir)[1]["iterator"]["next_index"] == 6


def test_all_damaged_leaves_none_and_keeps_them(workdir):
    for step in (2, 4, 6):
        flip(largest(workdir / "checkpoints" / str(step)))
    shutil.copytree(workdir / "checkpoints" / "6", workdir / "checkpoints" / "6.damaged")
    checkpoints = Checkpoints(workdir)
    assert len(checkpoints.tidy()) == 3 and checkpoints.latest is None
    names = {path.name for path in (workdir / "checkpoints").iterdir()}
    assert names == {"2.damaged", "4.damaged", "6.damaged", "6.damaged-2"}


def test_half_a_save_is_no_checkpoint(workdir):
    shutil.copytree(workdir / "checkpoints" / "6", workdir / "checkpoints" / "8.part")
    assert newest(workdir)[1]["iterator"]["next_index"] == 6
    assert Checkpoints(workdir).tidy() == []
    assert not (workdir / "checkpoints" / "8.part").exists()


@contextmanager
def file_size_limit(size: int):
    """No file may grow beyond: the system's own error in the middle of a write."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN  # Python's default
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 2_000, 50_000])
def test_a_save_that_fails_leaves_the_disk_as_it_was(size, workdir, capfd):
    before = listing(workdir)
    with file_size_limit(size), pytest.raises(SaveError, match=r"8 could not be wri.*\(File too l"):
        save(Checkpoints(workdir), 8, {})
    assert "Traceback" not in "".join(capfd.readouterr())
    # Threads of the failed save may write until now, but never where a checkpoint is looked for.
    late = r"checkpoints/8\.\d+\.part"
    assert {k: v for k, v in listing(workdir).items() if not re.match(late, k)} == before
    save(Checkpoints(workdir), 8, {"iterator": 8})  # there is room again
    assert newest(workdir)[1] == {"iterator": 8}
    assert Checkpoints(workdir).tidy() == []
    assert not list((workdir / "checkpoints").glob("*.part"))


def test_a_checkpoint_of_another_network_is_refused(workdir):
    def other():
        return {"params": {"w": np.zeros((5, 5), np.float32)}, "step": np.array(0, np.int32)}

    with pytest.raises(InputError, match=r"checkpoints/6 can't be read .*experiment\.json"):
        Checkpoints(workdir).restore(other)
    (workdir / "checkpoints" / "6" / "digest.json").write_text(json.dumps(["state"]))
    with pytest.raises(InputError, match="can't be read"):
        newest(workdir)
