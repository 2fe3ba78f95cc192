"""Patients named where they must not be: in files' headers, texts and names."""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from sde_ct.doctor.finding import Finding, warning
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.patient_names import NOBODY, WITHHELD, mentions, withhold
from sde_ct.volumes.formats import FORMATS, format_of, image_stem

PERSON = re.compile(r"[^\W\d_]{2,}\^[^\W\d_]{2,}")  # DICOM's way to write a name: Doe^Jane
FIELDS = re.compile(r"Patient_?s?_?(Name|ID|BirthDate|Address)", re.IGNORECASE)
TAG_LINES = re.compile(r"^0010[|,](0010|0020|0030)\s*=\s*\S", re.MULTILINE)  # ITK's MetaImage
TEXT = {".json", ".csv", ".txt", ".log", ".jsonl"}
LARGEST = 4_000_000  # bytes of a text file that is searched


def named_files(folder: Path, secrets: Collection[str]) -> list[Finding]:
    """Files below a folder that name a patient in their header, text or own name.

    DICOM files name patients by design and are passed over.
    """
    where: dict[str, list[str]] = {}
    for path in sorted(p for p in folder.rglob("*") if not p.is_symlink()):
        for what in _named(path, folder, secrets):
            where.setdefault(what, []).append(unnamed(str(path.relative_to(folder)), secrets))
    return [
        warning(
            f"a patient is named in {what}: {files[0]}"
            + (f" and {len(files) - 1} more" if len(files) > 1 else ""),
            "remove the name before the files are passed on",
        )
        for what, files in where.items()
    ]


def _named(path: Path, folder: Path, secrets: Collection[str]) -> Iterator[str]:
    if _names(path.name, secrets):
        yield "the name of a file or folder"
    if not path.is_file():
        return
    if image_stem(path) is not None:
        text = _header_text(path)
        if TAG_LINES.search(text) or _names(text, secrets):
            yield f"a {format_of(path)} header"
    if path.suffix in TEXT and path.stat().st_size < LARGEST:
        text = path.read_text("utf-8", errors="replace")
        if _names(text, secrets) or (path.suffix == ".json" and _has_field(text)):
            yield "text or JSON"


def unnamed(text: str, secrets: Collection[str]) -> str:
    """The text without the patient's names, nor any other that is written as DICOM does."""
    return withhold(PERSON.sub(WITHHELD, text), secrets)


def _names(text: str, secrets: Collection[str]) -> bool:
    return bool(PERSON.search(text)) or mentions(text, secrets)


def _header_text(path: Path) -> str:
    """The free text of an image's header; empty where the header is damaged."""
    try:
        return FORMATS[format_of(path)].text(path)
    except InputError:
        return ""


def _has_field(text: str) -> bool:
    """A key such as PatientName with a value, anywhere in a JSON text."""

    def search(value: object) -> bool:
        if isinstance(value, dict):
            return any(
                (FIELDS.fullmatch(key) and isinstance(v, str) and v.strip().casefold() not in
                 {"", *NOBODY}) or search(v) for key, v in value.items()
            )  # fmt: skip
        return isinstance(value, list) and any(map(search, value))

    try:
        return search(json.loads(text))
    except (ValueError, RecursionError):
        return False
