"""How much memory a process may still take from its machine."""

from pathlib import Path

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available() -> int | None:
    """Bytes that this process may still take; None if they are unknown, as outside of Linux.

    This is what the machine can give without swapping, or less if a limit holds for the container
    or the cluster job of the process (a control group, version 2).
    """
    try:
        machine = _figures(PROC / "meminfo")["MemAvailable:"] * 1024
        group = (PROC / "self" / "cgroup").read_text().rpartition("::")[2].strip().strip("/")
    except (OSError, KeyError, ValueError):
        return None
    folders = [GROUPS / group, *(GROUPS / group).parents]
    return min([machine, *(left for folder in folders if (left := _left(folder)) is not None)])


def _left(group: Path) -> int | None:
    """What a control group may still take; None if it has no limit, or is none."""
    try:
        limit = int((group / "memory.max").read_text())
        taken = int((group / "memory.current").read_text())
        # Cached files are given up when memory is needed.
        return limit - taken + _figures(group / "memory.stat").get("inactive_file", 0)
    except (OSError, ValueError):
        return None


def _figures(path: Path) -> dict[str, int]:
    """The first number of each line, by the line's first word."""
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
