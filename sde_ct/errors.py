"""The exceptions that a user of the programs sees, as one sentence each."""


class InputError(ValueError):
    """Input that cannot be used: one clear sentence naming the file or field and the fix.

    The programs in `launch/` print the sentence and exit with status 2, without a traceback.
    """


class Interrupted(Exception):
    """A signal asked the program to end, and it did so in order: the same command goes on.

    The programs print the sentence and exit with status 75 (EX_TEMPFAIL: try again) after
    SIGTERM, by which schedulers take a machine away, and 128 + its number after another.
    """

    def __init__(self, sentence: str, signal: int):
        super().__init__(sentence)
        self.signal = signal
