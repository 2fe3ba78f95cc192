"""One sentence for whatever a library raises when it reads a damaged file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sde_ct.errors import InputError

LOGGERS = ("nibabel.global", "pydicom")


@contextmanager
def decoding(file: Path, kind: str = "DICOM") -> Iterator[None]:
    """Turn any error of the block into an InputError that names the file and its `kind`.

    Libraries decode values when they are accessed, so any access to a damaged file may fail, and
    with any exception. Their warnings and log messages are silenced: the sentence replaces them.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{file} cannot be read: check its permissions") from error
    except Exception as error:
        raise InputError(f"{file} is damaged or not {kind}: copy or export it again") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
