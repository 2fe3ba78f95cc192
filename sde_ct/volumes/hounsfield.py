"""Whether the voxels of a CT are in HU: water is 0, air -1000, fat -100, bone above 200."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.field_of_view import AIR, LEAST_AIR, known
from sde_ct.volumes.volume import Volume

OFFSETS = (1024, 1000)  # at which CT numbers are stored as unsigned integers
BODY, BODY_SHARE = 800, 0.1  # HU; little bone lies above, but all of a body with an offset
DENSE, DENSE_SHARE = 4000, 0.05  # HU; only metal is above, and no such part of a patient is metal
TISSUE = (-150, 150)  # HU; where soft tissue has its peak
ORIGINAL = "give the original CT"


class Fault(NamedTuple):
    """Why a CT is not in HU, and what to do."""

    what: str
    fix: str = ORIGINAL


def require_hu(ct: Volume, path: Path) -> None:
    """Raise InputError where a CT is plainly not in HU."""
    if problem := fault(ct):
        low, high = float(ct.array.min()), float(ct.array.max())
        raise InputError(
            f"{path} is not in HU (values {low:g} to {high:g}): {problem.what}; {problem.fix}"
        )


def fault(ct: Volume) -> Fault | None:
    """What shows that a CT is not in HU; None where nothing does."""
    values = _measured(ct)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Fault("every voxel is the same")
    if low >= -1.5 and high <= 1.5:
        return Fault("it looks scaled to [0, 1] or [-1, 1]")
    if (share := float((values > DENSE).mean())) > DENSE_SHARE:
        return Fault(f"{100 * share:.0f} % is above {DENSE}, as in a wrong byte order or type")
    if offset := offset_of(ct):
        return Fault(f"it looks like HU + {offset}", f"subtract {offset}")
    if low >= 0 or (low > -200 and high < 100):
        return Fault("it holds no air or no bone")
    if low >= AIR and not has_soft_tissue(values):
        return Fault(f"it holds no air below {AIR:g} HU and no peak of soft tissue near 0 HU")
    return None


def offset_of(ct: Volume) -> int:
    """What to subtract to get HU: the offset that brings the air nearest to -1000, or 0."""
    values = _measured(ct)
    if values.min() < 0 or (values > BODY).mean() <= BODY_SHARE:
        return 0
    air = values[values < AIR + max(OFFSETS)]
    if not air.size:
        return OFFSETS[0]
    return min(OFFSETS, key=lambda offset: abs(float(np.median(air)) - offset + 1000))


def has_soft_tissue(hu: Shaped[np.ndarray, "*d"]) -> bool:
    """Whether most voxels denser than fat are soft tissue."""
    count, edges = np.histogram(hu, bins=np.arange(-300, 1500, 25))
    return TISSUE[0] <= edges[np.argmax(count)] + 12.5 <= TISSUE[1]


def _measured(ct: Volume) -> Shaped[np.ndarray, " n"]:
    """All voxels except padding that is lower than air."""
    array = np.asarray(ct.array)
    values = array[known(ct)] if array.min() < LEAST_AIR else array.ravel()
    return values if values.size else array.ravel()
