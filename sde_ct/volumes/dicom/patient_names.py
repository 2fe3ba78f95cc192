"""Keep patients' names and IDs out of messages, reports and file names.

Names, IDs and birth dates in DICOM headers are called secrets. `withhold` removes them from a text.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import read_header

TAGS = ("PatientName", "PatientID", "OtherPatientIDs", "PatientBirthDate")
# Words in such tags that identify nobody; messages need these words.
NOBODY = {
    *("unknown", "anonymous", "anonymized", "anonymised", "patient", "none", "name", "phantom"),
    *("mr", "mrs", "ms", "dr", "prof", "ct", "t1", "t2"),
}
# The least number of letters in a name, and of digits in an ID. Sizes and counts have fewer.
SHORTEST, FIGURES = 2, 5
LETTER, ALNUM = r"[^\W\d_]", r"[^\W_]"
WITHHELD = "[name]"


def words_of(text: str) -> set[str]:
    """The words in a text, in lower case and without initials."""
    words = re.findall(f"{LETTER}+", unicodedata.normalize("NFC", text))
    return {form for word in words for form in (word.lower(), word.casefold()) if _is_long(form)}


def secrets_of(header: Any) -> frozenset[str]:
    """The words of the patient's name, the IDs and the birth date in a DICOM header, lower case."""
    name, *others = (str(header.get(tag) or "") for tag in TAGS)
    secrets = words_of(name) | set(re.findall(r"\d+", name))
    secrets |= {unicodedata.normalize("NFC", text).strip().lower() for text in others}
    return frozenset(filter(_is_long, secrets - NOBODY))


def secrets_in(folders: Iterable[Path]) -> frozenset[str]:
    """The secrets of all DICOM files directly in the folders; other files are ignored."""
    secrets: set[str] = set()
    for folder in folders:
        with suppress(OSError):  # the folder may have been removed
            for file in slice_files(folder):
                with suppress(InputError), decoding(file):
                    secrets |= secrets_of(read_header(file))
    return frozenset(secrets)


def withhold(text: str, secrets: Collection[str], keep: str = "") -> str:
    """Replace secrets in a text, except those that `keep` contains.

    A secret counts only as a whole word, except in scripts without spaces between words.
    """
    text = unicodedata.normalize("NFC", text)
    for secret in sorted(secrets, key=len, reverse=True):
        if not re.search(_pattern(secret), keep, re.IGNORECASE):
            text = re.sub(_pattern(secret), WITHHELD, text, flags=re.IGNORECASE)
    return text


def mentions(text: str, secrets: Collection[str], keep: str = "") -> bool:
    """Whether `withhold` would change a text."""
    return withhold(text, secrets, keep) != unicodedata.normalize("NFC", text)


def _pattern(secret: str) -> str:
    """Match a name only between non-letters, and an ID only between non-alphanumerics."""
    has_digits = any(c.isdigit() for c in secret)
    if not _is_cased(secret) and not has_digits:
        return re.escape(secret)  # in this script there are no spaces between words
    part = ALNUM if has_digits else LETTER
    return f"(?<!{part}){re.escape(secret)}(?!{part})"


def _is_long(secret: str) -> bool:
    """Whether a word can name somebody: initials and small numbers cannot."""
    if secret.isdigit():
        return len(secret) >= FIGURES
    return len(secret) >= SHORTEST or (secret.isalpha() and not _is_cased(secret))


def _is_cased(word: str) -> bool:
    return word.upper() != word.lower()
