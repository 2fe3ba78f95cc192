"""Turn any error that a library raises on a damaged file into one sentence."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sde_ct.errors import InputError


@contextmanager
def decoding(file: Path, kind: str = "DICOM") -> Iterator[None]:
    """Turn any error in the block into an InputError that names the file.

    Libraries decode values when they are accessed, so any access to a damaged file may fail, with
    any exception. The InputError says that the file may not be read, is damaged or is not of this
    `kind`. The block's own InputErrors pass unchanged. Warnings and log messages of the libraries
    are always silenced.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
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
        logging.disable(disabled)
