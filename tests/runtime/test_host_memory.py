"""The memory that a process may still take."""

import pytest

from sde_ct.runtime import host_memory
from sde_ct.runtime.host_memory import available

KIB, GIB = 1024, 1024**3


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GiB, of which 6 can be had. The process is in the control group job/step."""
    proc, group = tmp_path / "proc", tmp_path / "groups" / "job" / "step"
    (proc / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (proc / "meminfo").write_text(
        f"MemTotal: {8 * GIB // KIB} kB\nMemFree: 0 kB\nMemAvailable: {6 * GIB // KIB} kB\n"
    )
    (proc / "self" / "cgroup").write_text("0::/job/step\n")
    monkeypatch.setattr(host_memory, "PROC", proc)
    monkeypatch.setattr(host_memory, "GROUPS", tmp_path / "groups")
    return group


def limit(group, most, taken, cached: int = 0):
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{taken}\n")
    (group / "memory.stat").write_text(f"anon {taken - cached}\ninactive_file {cached}\n")


def test_without_a_limit_it_is_what_the_machine_can_give(machine):
    assert available() == 6 * GIB
    limit(machine, "max", GIB)
    assert available() == 6 * GIB


@pytest.mark.parametrize("parents", [0, 1])
def test_a_limit_of_the_job_or_of_one_of_its_steps_counts(machine, parents):
    group = [machine, *machine.parents][parents]
    limit(group, 4 * GIB, 3 * GIB, cached=GIB)  # the cached gigabyte is given up
    assert available() == 2 * GIB
    limit(group, 64 * GIB, GIB)
    assert available() == 6 * GIB


def test_it_is_unknown_without_the_files_of_linux(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(host_memory, "PROC", tmp_path / "none")
    assert available() is None
