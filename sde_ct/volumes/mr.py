"""Check that a volume given as an MR is not a CT, a mask or labels."""

from pathlib import Path

import numpy as np

from sde_ct.errors import InputError
from sde_ct.volumes.hounsfield import fault
from sde_ct.volumes.volume import Volume

AIR, NEAR = -1000, 100  # HU of air, and its tolerance
SHARE = 0.1  # least share of air in a CT
LABELS = 8  # labels have at most this many values; an 8-bit MR has dozens
SAMPLE = 50_000  # about this many voxels are examined first


def require_mr(volume: Volume, path: Path) -> None:
    """Raise InputError if a volume is plainly not an MR."""
    if problem := no_mr(volume):
        raise InputError(f"{path} {problem}: give the MR")


def no_mr(volume: Volume) -> str | None:
    """The evidence that a volume is not an MR; None if there is none or all voxels are equal."""
    array = volume.array
    if np.mean(np.abs(array - AIR) < NEAR) > SHARE and fault(volume) is None:
        low, high = float(array.min()), float(array.max())
        return f"looks like a CT in HU (values {low:g} to {high:g})"
    if len(np.unique(array.ravel()[:: max(1, array.size // SAMPLE)])) <= LABELS:
        count = len(np.unique(array))
        if 1 < count <= LABELS:
            return f"holds {count} different values, as a mask or labels do"
    return None
