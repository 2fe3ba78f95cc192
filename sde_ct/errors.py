"""The exceptions that a user of the programs sees, as one sentence each."""

from collections.abc import Sequence


class InputError(ValueError):
    """Input that cannot be used: one clear sentence naming the file or field and the fix.

    The programs in `launch/` print the sentence and exit with status 2, without a traceback.
    """


class Interrupted(Exception):
    """A signal asked the program to end, and it ended cleanly; the same command continues its work.

    The programs print the sentence and exit with status 75 (EX_TEMPFAIL: try again) after SIGTERM,
    which schedulers send to free a machine, and with 128 + the signal's number after another one.
    """

    def __init__(self, sentence: str, signal: int):
        super().__init__(sentence)
        self.signal = signal


def first_of(names: Sequence[str], most: int = 8) -> str:
    """The first `most` names as a text for a message, which ends in "…" if there are more."""
    return ", ".join(names[:most]) + ", …" * (len(names) > most)
