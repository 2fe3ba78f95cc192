"""Files with some of their bytes changed: a reader refuses them in a sentence or reads a volume."""

import faulthandler
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume

MUTATIONS = 250  # a kind of file; each reader has two, plain and compressed
SLOWEST = 5.0  # seconds a file of some kB may take, on a machine that does other work too
LIMIT = 120  # seconds for all; a reader that hangs, in C++ too, ends the run with a traceback


def mutations(data: bytes, head: int, seed: int) -> Iterator[bytes]:
    """A byte or a few of other values, half of them within the first `head`; some cut short."""
    rng = np.random.default_rng(seed)
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        for _ in range(1 + rng.poisson(2)):
            where = rng.integers(head if rng.random() < 0.5 else len(data))
            changed[where] ^= int(rng.integers(1, 256))
        yield bytes(changed[: rng.integers(len(data))] if rng.random() < 0.1 else changed)


def count_refused(file: Path, place: Path, unit: str, *, head: int, seed: int = 0) -> int:
    """Read `place` with every mutation of `file`; anything but a sound volume or a sentence fails.

    Returns how many of the `MUTATIONS` were refused.
    """
    refused = 0
    original = file.read_bytes()
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    try:
        for data in mutations(original, head, seed):
            file.write_bytes(data)
            start = time.perf_counter()
            try:
                volume = read_volume(place, unit)
            except InputError as error:
                assert "\n" not in str(error), error
                refused += 1
            else:
                assert volume.array.ndim == 3 and np.isfinite(volume.array).all()
                assert abs(np.linalg.det(volume.affine)) > 0 and np.isfinite(volume.affine).all()
            assert time.perf_counter() - start < SLOWEST
    finally:
        faulthandler.cancel_dump_traceback_later()
        file.write_bytes(original)
    return refused
