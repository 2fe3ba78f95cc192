"""Whom DICOM files name."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.patient_names import secrets_of
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import decoding, read_header


def secrets_in(folders: Iterable[Path]) -> frozenset[str]:
    """What names the patients of the files directly in folders; others than DICOM are left out."""
    secrets: set[str] = set()
    for folder in folders:
        with suppress(OSError):  # one that is gone names nobody
            for file in slice_files(folder):
                with suppress(InputError), decoding(file):
                    secrets |= secrets_of(read_header(file))
    return frozenset(secrets)
