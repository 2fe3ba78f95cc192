"""List the folders below a folder, without hidden ones, and tell names from paths."""

from pathlib import Path, PurePosixPath, PureWindowsPath


def is_path(name: str) -> bool:
    """Whether some system reads a name as a path, such as `a/b`, `a\\b`, `c:a`, `..` and ""."""
    return name in ("", "..") or any(p(name).name != name for p in (PurePosixPath, PureWindowsPath))


def folders(root: Path) -> list[Path]:
    """`root` and every folder below it, sorted, without folders whose names begin with a dot.

    Links are followed, except links to a folder that contains them.
    """
    return _below(root, frozenset())


def subfolders(root: Path) -> list[Path]:
    """The folders directly in `root`, sorted, without folders whose names begin with a dot."""
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def is_empty(root: Path) -> bool:
    """Whether `root` and its folders hold no file, apart from names that begin with a dot."""
    files = (p for place in folders(root) for p in place.iterdir() if not p.is_dir())
    return all(p.name.startswith(".") for p in files)


def _below(place: Path, above: frozenset[Path]) -> list[Path]:
    real = place.resolve()
    if real in above:
        return []
    return [place, *(p for child in subfolders(place) for p in _below(child, above | {real}))]
