"""The volumes in a folder by the names of their files."""

from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.volumes.formats import image_stem


def stem_of(path: Path) -> str | None:
    """The name of a volume's file without its suffix; None for hidden files and other formats."""
    return None if path.name.startswith(".") else image_stem(path)


def files_by_name(folder: Path) -> dict[str, list[Path]]:
    """The volumes directly in a folder, by name. Files with different suffixes may share a name."""
    volumes: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and (name := stem_of(path)) is not None:
            volumes.setdefault(name, []).append(path)
    return volumes


def volumes_in(folder: Path) -> dict[str, Path]:
    """The volumes of one folder by name. Raises InputError if two have the same name."""
    return {name: only(paths, name) for name, paths in files_by_name(folder).items()}


def only(paths: list[Path], name: str) -> Path:
    """The only path with a name. Raises InputError if there are several."""
    if len(paths) > 1:
        raise InputError(f"{paths[0]} and {paths[1]} are both '{name}': rename one.")
    return paths[0]
