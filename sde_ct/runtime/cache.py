"""Where compiled programs are kept from one start to the next."""

import os
from pathlib import Path


def folder(name: str) -> Path:
    """`name` in this package's cache, under $XDG_CACHE_HOME or ~/.cache; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sde_ct" / name
