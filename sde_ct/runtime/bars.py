"""Progress bars and lines of text, for a terminal and for the log of a scheduler."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

MINUTE = 60.0  # seconds


def bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """`tqdm.tqdm(items, **options)`, which is updated only once a minute in a log."""
    if sys.stderr.isatty():
        return tqdm(items, mininterval=0.2, **options)
    # A bar that is removed at its end appears in a log only if it takes more than a minute.
    delay = 0 if options.get("leave", True) else MINUTE
    pace = {"mininterval": MINUTE, "maxinterval": MINUTE, "delay": delay}
    return tqdm(items, file=_Lines(sys.stderr), **pace, **options)


class _Lines:
    """Writes each state of a bar as a separate line."""

    def __init__(self, log: TextIO):
        self._log = log

    def write(self, text: str) -> None:
        if state := text.strip():
            self._log.write(state + "\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line to stdout or to `file`, above the bars on a terminal."""
    if sys.stderr.isatty():
        tqdm.write(text, file=file)
    else:
        print(text, file=file, flush=True)
