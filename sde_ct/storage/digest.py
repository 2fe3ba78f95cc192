"""The SHA-256 of every file in a folder, written beside them: which of them changed since."""

import hashlib
import json
from pathlib import Path

NAME = "digest.json"


def sha256(path: Path) -> str:
    """Of a file's content, or of the names and contents of all files in a folder; in hex."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        lines = (f"{sha256(p)} {p.relative_to(path).as_posix()}\n" for p in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(folder: Path) -> None:
    """Write `digest.json` for all files below `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    (folder / NAME).write_text(json.dumps(digests, indent=0) + "\n")


def fault(folder: Path) -> str | None:
    """What is wrong with the folder, in a few words; None where all files are as written.

    Files that the digest does not name are left out: a network drive makes its own.
    """
    if not folder.is_dir():
        return "it is no folder"
    if not any(folder.iterdir()):
        return "it is empty"
    try:
        digests = json.loads((folder / NAME).read_text("utf-8"))
        expected = {str(name): str(value) for name, value in digests.items()}
    except FileNotFoundError:
        return f"it has no {NAME}"
    except (OSError, ValueError, AttributeError):
        return f"{NAME} can't be read"
    if not expected:
        return f"{NAME} names no file"
    for name, value in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        try:
            if sha256(path) != value:
                return f"{name} has changed since it was written"
        except OSError as error:
            return f"{name} can't be read, {error.strerror}"
    return None
