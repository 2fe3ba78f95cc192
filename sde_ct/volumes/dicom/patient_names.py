"""What names a patient, and how it is kept out of texts: messages, reports, file names.

The names and IDs in DICOM headers are secrets; `withhold` takes them out of a text.
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
# Words that such tags hold and that name nobody; messages need them.
NOBODY = {
    *("unknown", "anonymous", "anonymized", "anonymised", "patient", "none", "name", "phantom"),
    *("mr", "mrs", "ms", "dr", "prof", "ct", "t1", "t2"),
}
SHORTEST, FIGURES = 2, 5  # letters; digits of a number that is no size or count
LETTER, ALNUM = r"[^\W\d_]", r"[^\W_]"
WITHHELD = "[name]"


def words_of(text: str) -> set[str]:
    """The words of letters in a text, in lower case; no initials."""
    words = re.findall(f"{LETTER}+", unicodedata.normalize("NFC", text))
    return {form for word in words for form in (word.lower(), word.casefold()) if _is_long(form)}


def secrets_of(header: Any) -> frozenset[str]:
    """What names the patient in a DICOM header, in lower case: words of the name, and IDs."""
    name, *others = (str(header.get(tag) or "") for tag in TAGS)
    secrets = words_of(name) | set(re.findall(r"\d+", name))
    secrets |= {unicodedata.normalize("NFC", text).strip().lower() for text in others}
    return frozenset(filter(_is_long, secrets - NOBODY))


def secrets_in(folders: Iterable[Path]) -> frozenset[str]:
    """The secrets of all DICOM files directly in folders; other files are passed over."""
    secrets: set[str] = set()
    for folder in folders:
        with suppress(OSError):  # a folder that is gone names nobody
            for file in slice_files(folder):
                with suppress(InputError), decoding(file):
                    secrets |= secrets_of(read_header(file))
    return frozenset(secrets)


def withhold(text: str, secrets: Collection[str], keep: str = "") -> str:
    """The text without its secrets, as whole words; secrets that `keep` contains stay."""
    text = unicodedata.normalize("NFC", text)
    for secret in sorted(secrets, key=len, reverse=True):
        if not re.search(_pattern(secret), keep, re.IGNORECASE):
            text = re.sub(_pattern(secret), WITHHELD, text, flags=re.IGNORECASE)
    return text


def mentions(text: str, secrets: Collection[str], keep: str = "") -> bool:
    """Whether `withhold` would change a text."""
    return withhold(text, secrets, keep) != unicodedata.normalize("NFC", text)


def _pattern(secret: str) -> str:
    """A name ends where letters end, an ID where letters and figures end."""
    has_digits = any(c.isdigit() for c in secret)
    if not _is_cased(secret) and not has_digits:
        return re.escape(secret)  # of a script that puts no space between words
    part = ALNUM if has_digits else LETTER
    return f"(?<!{part}){re.escape(secret)}(?!{part})"


def _is_long(secret: str) -> bool:
    """Whether a word can name somebody: initials and small numbers cannot."""
    if secret.isdigit():
        return len(secret) >= FIGURES
    return len(secret) >= SHORTEST or (secret.isalpha() and not _is_cased(secret))


def _is_cased(word: str) -> bool:
    return word.upper() != word.lower()
