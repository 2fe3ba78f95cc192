"""Two processes in one place."""

import signal
import subprocess
import sys

import pytest

from sde_ct.errors import InputError
from sde_ct.storage.lock import awaited, locked

HOLD = """
import sys, time
from pathlib import Path
from sde_ct.storage.lock import awaited, locked
lock = locked(sys.argv[1], "training", "--workdir")
if len(sys.argv) > 2:
    lock = awaited(Path(sys.argv[2]), print)
with lock:
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_until_the_first_is_gone(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"process {first.pid} on .*another --workdir"):
            with locked(tmp_path, "training", "--workdir"):
                pass
        first.send_signal(signal.SIGKILL)
        first.wait()
    for _ in range(2):  # nothing is left behind, by a kill or by an end
        with locked(tmp_path, "training", "--workdir"):
            pass


def test_the_second_waits_until_the_first_is_killed(tmp_path):
    path = tmp_path / "new" / "lock"
    command = [sys.executable, "-c", HOLD, str(tmp_path), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        holders = []

        def kill(holder):
            assert first.poll() is None
            holders.append(holder)
            first.send_signal(signal.SIGKILL)

        with awaited(path, kill):
            assert first.wait() == -signal.SIGKILL
    assert len(holders) == 1 and holders[0].startswith(f"process {first.pid} on ")
    assert list(path.parent.iterdir()) == []  # the lock file is gone


def test_an_awaited_lock_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyError), awaited(tmp_path / "new" / "lock", print):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with awaited(tmp_path / "new" / "lock", print):
        (tmp_path / "new" / "result").touch()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["result"]
