"""Programs at the same time, each on a core of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from sde_ct.errors import InputError, Interrupted
from sde_ct.runtime import side_by_side as module
from sde_ct.runtime.side_by_side import lanes, side_by_side

# A program that ends after SIGTERM, or after a minute without one, in which case the test fails.
PATIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open(sys.argv[1], "w").close() or 75))
open(sys.argv[1] + ".began", "w").close()
time.sleep(60)
"""


def program(code: str, *arguments) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_each_chain_runs_in_turn_on_a_core_of_its_own(tmp_path):
    note = "import os, sys; print(*os.sched_getaffinity(0), file=open(sys.argv[1], 'a'))"
    chains = [[program(note, tmp_path / str(i)) for _ in range(2)] for i in range(3)]
    side_by_side(chains)
    for number in range(3):
        lines = (tmp_path / str(number)).read_text().split("\n")[:-1]
        assert len(lines) == 2 and all(int(line) in os.sched_getaffinity(0) for line in lines)


def test_as_many_run_at_a_time_as_there_are_lanes(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "lanes", lambda: [None, None])
    # Each waits for the other, and a third one finds both at their end.
    meet = """
import pathlib, sys, time
mine, other, third = map(pathlib.Path, sys.argv[1:])
mine.touch()
end = time.monotonic() + 60
while not other.exists():
    assert time.monotonic() < end
    time.sleep(0.01)
assert not third.exists()
time.sleep(0.3)
"""
    a, b, c = (tmp_path / name for name in "abc")
    side_by_side([[program(meet, a, b, c)], [program(meet, b, a, c)], [program(meet, c, a, "no")]])
    assert c.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="programs are bound to cores on Linux only")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_the_last_two_share_a_core_until_another_is_free(tmp_path, monkeypatch):
    cores = sorted(os.sched_getaffinity(0))[:2]
    monkeypatch.setattr(module, "lanes", lambda: cores)
    # Notes its core whenever that changes, and ends when the named file exists.
    watch = """
import os, pathlib, sys, threading, time
note, stop = map(pathlib.Path, sys.argv[1:])
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
seen, end = None, time.monotonic() + 60
while not stop.exists() or not seen:
    assert time.monotonic() < end
    threads = map(int, os.listdir("/proc/self/task"))
    now = {frozenset(os.sched_getaffinity(thread)) for thread in threads}
    if now != seen and len(now) == 1:
        seen = now
        print(*next(iter(now)), file=note.open("a"))
    time.sleep(0.01)
"""
    long, third, fourth, moved = (tmp_path / name for name in ("long", "3", "4", "moved"))
    chains = [
        [program(watch, long, third)],
        [program("")],
        [program(watch, third, moved)],
        [program(watch, fourth, moved)],
    ]

    def pause(seconds):
        time.sleep(seconds)
        lines = [path.read_text().split() for path in (third, fourth) if path.exists()]
        if sum(map(len, lines)) > 2:  # one of the two has moved
            moved.touch()

    class Time:
        sleep = staticmethod(pause)

    monkeypatch.setattr(module, "time", Time)
    side_by_side(chains)
    assert long.read_text().split() == [str(cores[0])]
    assert third.read_text().split() == [str(cores[1])]
    assert fourth.read_text().split() == [str(cores[1]), str(cores[0])]


def test_a_failure_ends_the_others_and_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "lanes", lambda: [None, None])
    fails = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
sys.exit(2)
"""
    ended, never = tmp_path / "ended", tmp_path / "never"
    late = program("import sys; open(sys.argv[1], 'w')", never)
    with pytest.raises(InputError, match="ended with status 2, and the lines above"):
        side_by_side([[program(PATIENT, ended)], [program(fails, f"{ended}.began"), late], [late]])
    assert ended.exists() and not never.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_once_and_waits_for_all(tmp_path, monkeypatch, number):
    monkeypatch.setattr(module, "lanes", lambda: [None, None])
    names = [tmp_path / name for name in "ab"]

    def pause(seconds):
        time.sleep(seconds)
        if all(path.with_name(f"{path.name}.began").exists() for path in names):
            signal.raise_signal(number)

    class Time:
        sleep = staticmethod(pause)

    monkeypatch.setattr(module, "time", Time)
    with pytest.raises(Interrupted, match="the same command continues the work") as error:
        side_by_side([[program(PATIENT, name)] for name in names])
    assert error.value.signal == number and all(name.exists() for name in names)


@pytest.mark.skipif(sys.platform != "linux", reason="the signal is Linux's")
def test_programs_end_when_their_parent_is_killed(tmp_path):
    ended = tmp_path / "ended"
    parent = f"""
from sde_ct.runtime import side_by_side
side_by_side.lanes = lambda: [None]
side_by_side.side_by_side([[{program(PATIENT, ended)!r}]])
"""
    process = subprocess.Popen(program(parent))
    end = time.monotonic() + 60
    while not (tmp_path / "ended.began").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait()
    while not ended.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_there_is_a_lane_for_each_core_and_one_with_an_accelerator(monkeypatch):
    assert lanes() == sorted(os.sched_getaffinity(0))
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "gpu\n", "")
    )
    assert lanes() == [None]
