"""Search files for patients' names: in headers, in text and in the files' own names."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from sde_ct.doctor.finding import PERSON, Finding, unnamed, warning
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.patient_names import NOBODY, mentions
from sde_ct.volumes.formats import FORMATS, format_of, image_stem

FIELDS = re.compile(r"Patient_?s?_?(Name|ID|BirthDate|Address)", re.IGNORECASE)
TAG_LINES = re.compile(r"^0010[|,](0010|0020|0030)\s*=\s*\S", re.MULTILINE)  # ITK's MetaImage
TEXT = {".json", ".csv", ".txt", ".log", ".jsonl"}
LARGEST = 4_000_000  # bytes; larger text files are not searched


def check_names(folder: Path, secrets: Collection[str]) -> list[Finding]:
    """Report patients' names below a folder, except in DICOM headers, where they are expected.

    `secrets` are words that are known to name a patient.
    """
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if not p.is_symlink()):
        for what in _naming(path, secrets):
            places[what].append(unnamed(str(path.relative_to(folder)), secrets))
    return [
        warning(
            f"a patient is named in {what}: {files[0]}"
            + (f" and {len(files) - 1} more" if len(files) > 1 else ""),
            "remove the name before the files are passed on",
        )
        for what, files in places.items()
    ]


def _naming(path: Path, secrets: Collection[str]) -> Iterator[str]:
    """The parts of a file that name a patient."""

    def names(text: str) -> bool:
        return bool(PERSON.search(text)) or mentions(text, secrets)

    if names(path.name):
        yield "the name of a file or folder"
    if not path.is_file():
        return
    if image_stem(path) is not None:
        with suppress(InputError):  # a damaged header is reported elsewhere, when the file is read
            text = FORMATS[format_of(path)].text(path)
            if TAG_LINES.search(text) or names(text):
                yield f"a file's {format_of(path)} header"
    suffix = path.suffix.lower()
    if suffix in TEXT and path.stat().st_size < LARGEST:
        text = path.read_text("utf-8", errors="replace")
        if names(text) or (suffix == ".json" and _has_field(text)):
            yield "text or JSON"


def _has_field(text: str) -> bool:
    """Whether a key such as PatientName has a value anywhere in a JSON text."""

    def search(value: object) -> bool:
        if isinstance(value, dict):
            return any(_is_named(*pair) or search(pair[1]) for pair in value.items())
        return isinstance(value, list) and any(map(search, value))

    try:
        return search(json.loads(text))
    except (ValueError, RecursionError):
        return False


def _is_named(key: str, value: object) -> bool:
    is_text = bool(FIELDS.fullmatch(key)) and isinstance(value, str)
    return is_text and str(value).strip().casefold() not in {"", *NOBODY}
