"""The one exception a user of the programs ever sees."""


class InputError(ValueError):
    """Input that cannot be used: one clear sentence naming the file or field and the mend.

    The programs in `launch/` print the sentence and exit with status 2, without a traceback.
    """
