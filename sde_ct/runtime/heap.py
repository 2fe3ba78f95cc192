"""The C library's heap, in which XLA allocates its arrays anew in every execution on a CPU.

Clearing the new pages of these arrays takes up to a third of a training step of the paper's
network. A heap that keeps its pages saves this time. Its gaps, however, are not always large enough
for the arrays of the next step, so that it grows to two or three times what a step needs.
"""

import ctypes
import sys
from pathlib import Path

MADV_HUGEPAGE = 14
MAPS = Path("/proc/self/maps")


def keep() -> None:
    """Have glibc keep freed memory for the next array instead of returning it to the system."""
    if library := _glibc():
        library.mallopt(-1, -1)  # M_TRIM_THRESHOLD: the heap never shrinks
        library.mallopt(-4, 0)  # M_MMAP_MAX: large arrays are in the heap too
        # M_ARENA_MAX: there is one heap, because those of threads hold at most 64 MB.
        library.mallopt(-8, 1)


def trim() -> None:
    """Return the pages that are free now. The compiler leaves hundreds of MB of them."""
    if library := _glibc():
        library.malloc_trim(0)


def give_back() -> None:
    """Return the pages that are free now, and use huge pages, which are cleared faster.

    Called between long steps, this prevents a heap that keeps its pages from growing.
    """
    trim()
    if library := _glibc():
        for line in MAPS.read_text().splitlines():
            if line.endswith("[heap]"):
                first, end = (int(address, 16) for address in line.split()[0].split("-"))
                # A kernel without huge pages refuses, which changes nothing.
                library.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), MADV_HUGEPAGE)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc on Linux."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
