"""Large arrays in temporary files, which take space on a disk instead of memory."""

import math
import mmap
import os
import tempfile
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

LARGE = 2**28  # bytes; smaller arrays stay in memory


class Scratch(NamedTuple):
    """An array, and the file that holds it; None if it is in memory."""

    array: Float32[np.ndarray, "*d"]
    file: mmap.mmap | None = None

    def release(self) -> None:
        """Give the memory of the array's pages back; the next access reads them from the file."""
        if self.file is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)


def scratch(shape: tuple[int, ...]) -> Scratch:
    """An array without defined values, in a file of the folder for temporary files if it is large.

    The file has no name, and vanishes with the array or the process. The array is in memory if the
    disk has no room for it, or if the system cannot reserve room, without which a full disk would
    end the process.
    """
    size = 4 * math.prod(shape)
    if size >= LARGE and hasattr(os, "posix_fallocate"):
        try:
            with tempfile.TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, size)
                pages = mmap.mmap(file.fileno(), size)
            return Scratch(np.frombuffer(pages, np.float32).reshape(shape), pages)
        except OSError:
            pass
    return Scratch(np.empty(shape, np.float32))
