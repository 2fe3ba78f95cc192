"""Folders below a folder."""

from pathlib import Path


def folders(root: Path) -> list[Path]:
    """`root` and every folder below, sorted, links followed; those that begin with a dot left out.

    A link to a folder that it lies in is not followed.
    """
    return _below(root, frozenset())


def subfolders(root: Path) -> list[Path]:
    """The folders directly in `root`, sorted, without those that begin with a dot."""
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def is_empty(root: Path) -> bool:
    """Whether no folder of it holds a file, but for those that begin with a dot."""
    files = (p for place in folders(root) for p in place.iterdir() if not p.is_dir())
    return all(p.name.startswith(".") for p in files)


def _below(place: Path, above: frozenset[Path]) -> list[Path]:
    real = place.resolve()
    if real in above:
        return []
    return [place, *(p for child in subfolders(place) for p in _below(child, above | {real}))]
