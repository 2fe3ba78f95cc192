"""Progress bars: lively on a terminal, a line a minute in the log of a scheduler."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

MINUTE = 60.0  # seconds


def bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """`tqdm.tqdm(items, **options)` at a pace that fits what reads stderr."""
    if sys.stderr.isatty():
        return tqdm(items, mininterval=0.2, **options)
    # One that a terminal would wipe off says nothing in a log unless it takes a minute.
    delay = 0 if options.get("leave", True) else MINUTE
    return tqdm(items, mininterval=MINUTE, maxinterval=MINUTE, delay=delay, **options)
