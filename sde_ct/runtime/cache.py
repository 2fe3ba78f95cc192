"""The package's cache folder, which keeps compiled programs from one start to the next."""

import contextlib
import os
import time
import zlib
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError):
    from compression import zstd  # only Python 3.14 and later have this module, which JAX then uses


def folder(name: str) -> Path:
    """`name` in this package's cache, under $XDG_CACHE_HOME or ~/.cache; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sde_ct" / name


def remove_truncated(programs: Path) -> None:
    """Remove compiled programs that a killed process wrote only in part.

    JAX would complain of such an entry at every start and never replace it. An entry that an
    earlier call has checked is not read again.
    """
    stamp, now = programs / ".checked", time.time()
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    for entry in programs.glob("*-cache"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if entry.stat().st_mtime >= since - 1 and not _is_whole(entry.read_bytes()):
                entry.unlink()
    if programs.is_dir():
        stamp.touch()
        os.utime(stamp, (now, now))


def _is_whole(content: bytes) -> bool:
    """Whether a compressed stream reaches its end; in an unknown format, whether it has bytes."""
    stream: Any
    if content[:1] == b"\x78":
        stream, error = zlib.decompressobj(), zlib.error
    elif content[:4] == b"\x28\xb5\x2f\xfd" and "zstd" in globals():
        stream, error = zstd.ZstdDecompressor(), zstd.ZstdError
    else:
        return bool(content)
    try:
        stream.decompress(content)
    except error:
        return False
    return stream.eof
