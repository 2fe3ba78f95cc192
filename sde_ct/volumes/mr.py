"""Whether a volume given as an MR is one, and not a CT, a mask or labels."""

from pathlib import Path

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.hounsfield import fault
from sde_ct.volumes.volume import Volume

AIR, NEAR, SHARE = -1000, 100, 0.1  # HU; a CT has at least this share of voxels near air
LABELS = 8  # values or fewer: an MR of 8 bits has dozens
SAMPLE = 50_000  # voxels that are looked at first


def require_mr(volume: Volume, path: Path) -> None:
    """Raise InputError where an MR is plainly something else."""
    if problem := no_mr(volume):
        raise InputError(f"{path} {problem}: give the MR")


def no_mr(volume: Volume) -> str | None:
    """What shows that a volume is no MR; None where nothing does or all voxels are the same."""
    array = volume.array
    if np.mean(np.abs(array - AIR) < NEAR) > SHARE and fault(volume) is None:
        low, high = float(array.min()), float(array.max())
        return f"looks like a CT in HU (values {low:g} to {high:g})"
    if len(np.unique(array.ravel()[:: max(1, array.size // SAMPLE)])) <= LABELS:
        count = len(np.unique(array))
        if 1 < count <= LABELS:
            return f"holds {count} different values, as a mask or labels do"
    return None
