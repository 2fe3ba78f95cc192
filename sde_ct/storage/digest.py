"""SHA-256 of files and folders, and `digest.json`, which reveals later changes to a folder."""

import hashlib
from pathlib import Path

from sde_ct.storage.whole import read_json, write_json

NAME = "digest.json"


def sha256(*paths: Path) -> str:
    """The SHA-256, in hex, of a file's content, a folder's names and contents, or several paths."""
    if len(paths) > 1:
        return hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()
    (path,) = paths
    if path.is_dir():
        lines = (f"{value} {name}\n" for name, value in _contents(path).items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _contents(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by the file's path relative to the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


def write(folder: Path) -> None:
    """Write `digest.json` for all files below `folder`."""
    write_json(folder / NAME, _contents(folder))


def fault(folder: Path, *names: str) -> str | None:
    """What is wrong with a folder, in a few words; None if its files match `digest.json`.

    Only the files in `names` are checked, or every file in `digest.json` if `names` is empty. Other
    files are ignored, because network drives add their own.
    """
    if not folder.is_dir():
        return "it is not a folder"
    if not any(folder.iterdir()):
        return "it is empty"
    try:
        expected = dict(read_json(folder / NAME).items())
    except FileNotFoundError:
        return f"it has no {NAME}"
    except (OSError, ValueError, AttributeError):
        return f"{NAME} can't be read"
    if not expected:
        return f"{NAME} names no file"
    for name in names or expected:
        path, value = folder / name, expected.get(name)
        if not path.is_file():
            return f"{name} is missing"
        try:
            if sha256(path) != value:
                return f"{name} has changed since it was written"
        except OSError as error:
            return f"{name} can't be read ({error.strerror})"
    return None
