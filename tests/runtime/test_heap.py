"""The heap keeps freed memory until it is asked to give it back."""

import subprocess
import sys

import pytest

ARRAY = 1 << 26  # 64 MiB, far above the size from which the C library asks the system for pages

# In a process of its own, because the heap of this one must stay as it is.
CODE = f"""
import ctypes
from sde_ct.runtime import heap

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
heap.keep()
before, array = resident(), library.malloc({ARRAY})
ctypes.memset(array, 1, {ARRAY})
filled = resident()
library.free(array)
kept = resident()
heap.give_back()
print(filled - before, kept - before, resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_freed_memory_stays_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    filled, kept, left = map(int, done.stdout.split())
    # A tenth: what else the process allocates meanwhile.
    assert filled == pytest.approx(ARRAY, rel=0.1) and kept == pytest.approx(ARRAY, rel=0.1)
    assert left < 0.1 * ARRAY
