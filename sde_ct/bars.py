"""Progress bars: lively on a terminal, a line a minute in the log of a scheduler."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """`tqdm.tqdm(items, **options)` at a pace that fits what reads stderr."""
    seconds = 0.2 if sys.stderr.isatty() else 60.0
    return tqdm(items, mininterval=seconds, maxinterval=max(seconds, 10.0), **options)
