"""Arrays in temporary files."""

import errno
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from sde_ct.runtime import scratch as module
from sde_ct.runtime.scratch import scratch

linux = pytest.mark.skipif(sys.platform != "linux", reason="room is reserved on Linux only")
MIB = 2**20


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for temporary files; arrays of any size are large."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "LARGE", 0)
    return tmp_path


def resident() -> int:
    """Bytes of this process's memory that belong to files."""
    return int(Path("/proc/self/statm").read_text().split()[2]) * os.sysconf("SC_PAGESIZE")


def test_a_small_array_is_in_memory():
    kept = scratch((2, 3))
    kept.release()
    assert kept.file is None and kept.array.shape == (2, 3) and kept.array.dtype == np.float32


@linux
def test_a_large_array_keeps_its_values_and_leaves_its_memory_and_no_file(folder):
    kept, before = scratch((8, MIB)), resident()
    values = np.random.default_rng(0).normal(size=(8, MIB)).astype(np.float32)
    kept.array[:] = values
    assert resident() - before > 24 * MIB  # of 32 MiB, as other pages may go at the same time
    kept.release()
    assert resident() - before < 8 * MIB
    np.testing.assert_array_equal(kept.array, values)
    assert not list(folder.iterdir())


@linux
def test_without_room_on_the_disk_the_array_is_in_memory(folder, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    kept = scratch((4, 5))
    kept.array[:] = 1
    assert kept.file is None and kept.array.sum() == 20
