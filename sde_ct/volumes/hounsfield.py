"""Check whether the voxels of a CT are in HU: water 0, air -1000, fat -100, bone above 200."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from sde_ct.errors import InputError
from sde_ct.volumes.field_of_view import known
from sde_ct.volumes.fill import AIR, LEAST_AIR
from sde_ct.volumes.volume import Volume

OFFSETS = (1024, 1000)  # offsets with which CT numbers are stored as unsigned integers
EXTREME = 0.5  # %; most checks ignore this share of the lowest and of the highest values
PEAK = (-170, 130)  # HU of fat, muscle and water, widened by the 24 HU between the offsets
DENSER = -700  # HU; only gas and most of a lung are less dense than this
# Least share of soft tissue in a body. In a head the share is 0.68, and that of dense bone 0.37 at
# most.
PEAK_SHARE = 0.5
AIR_SHARE = 0.1  # least share of voxels in the peak of air
NEAR_AIR = 150  # HU; half-width of this peak
HIGHEST = 3071  # HU, the highest in 12 bits; a signed value that was read as unsigned is higher
NO_NEGATIVE = -20  # HU; every body holds fat, which is lower, at -100
DENSE = 4000  # HU; only metal is denser
DENSE_SHARE = 0.05  # no patient holds this share of metal
TISSUE = (-150, 150)  # HU; the range of the peak of soft tissue
ORIGINAL = "give the original CT"


class Fault(NamedTuple):
    """Why a CT is not in HU, and how to fix it."""

    what: str
    fix: str = ORIGINAL


def require_hu(ct: Volume, path: Path) -> None:
    """Raise InputError if a CT is plainly not in HU."""
    if problem := fault(ct):
        low, high = float(ct.array.min()), float(ct.array.max())
        raise InputError(
            f"{path} is not in HU (values {low:g} to {high:g}): {problem.what}; {problem.fix}"
        )


def fault(ct: Volume) -> Fault | None:
    """The evidence that a CT is not in HU; None if there is none."""
    values = _measured(ct)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Fault("every voxel is the same")
    low, high = np.percentile(values, (EXTREME, 100 - EXTREME))
    if low >= -1.5 and high <= 1.5:
        return Fault("it looks scaled to [0, 1] or [-1, 1]")
    if wrong := _wrong_numbers(ct, values):
        return wrong
    if (share := float((values > DENSE).mean())) > DENSE_SHARE:
        return Fault(
            f"{100 * share:.0f} % of the values are above {DENSE}, as in an MR or in a file with a "
            "wrong byte order or data type"
        )
    if offset := offset_of(ct):
        sign, fix = ("+", "subtract") if offset > 0 else ("-", "add")
        size = abs(offset)
        return Fault(f"its units look like HU {sign} {size}", f"{fix} {size}")
    if low >= NO_NEGATIVE:
        return Fault(
            f"it holds almost no values below {NO_NEGATIVE}, and its air and soft tissue are not "
            "where an offset would put them, as in an MR or in a CT that lost its negative values"
        )
    if low > -200 and high < 100:
        return Fault("it holds neither air nor bone")
    if low >= AIR and not has_soft_tissue(values):
        return Fault(f"it holds no air below {AIR:g} HU and no peak of soft tissue near 0 HU")
    return None


def offset_of(ct: Volume) -> int:
    """The value to subtract to get HU: 1024, 1000, -1024, -1000 or, if none of these fits, 0.

    Peaks determine the value, so that a few extreme voxels have no effect. The peak of soft tissue
    gives the sign. Of 1024 and 1000, the size is the one that brings air nearest to -1000 HU, or
    1024 if there is no air.
    """
    values = _without_background(ct)
    middle = sum(OFFSETS) / 2
    if np.percentile(values, EXTREME) > -200 and _peak(values, middle) >= PEAK_SHARE:
        sign = 1
    elif _peak(values, -middle) >= PEAK_SHARE and _peak(values, 0) < PEAK_SHARE:
        sign = -1
    else:
        return 0
    near_air = [v[np.abs(v - sign * middle + 1000) < 1000 + AIR] for v in (values, _measured(ct))]
    # `values` lacks the corners' usual value. If this value is air, `values` holds little air.
    air = near_air[0] if near_air[0].size > 0.1 * values.size else near_air[1]
    if not air.size:
        return sign * OFFSETS[0]
    centre = float(np.median(air))
    return sign * min(OFFSETS, key=lambda offset: abs(centre - sign * offset + 1000))


def _wrong_numbers(ct: Volume, values: Shaped[np.ndarray, " n"]) -> Fault | None:
    """The fault if a CT lost its signs or was multiplied by 10; otherwise None."""
    if _has_peaks(values):
        return None
    if _has_peaks(values / 10):
        return Fault("its values look like HU times 10", "divide by 10")
    for bits in (12, 16):
        negative = values > max(HIGHEST, 2 ** (bits - 1))
        if _has_peaks(np.where(negative, values - 2**bits, values)):
            return Fault(f"its negative values are {2**bits} too high, as if read without a sign")
    inside = (values >= 0) & (values <= PEAK[1])
    if values.min() >= 0 and inside.mean() > AIR_SHARE:
        if abs(float(np.median(_corners(ct))) - 1000) < NEAR_AIR:
            return Fault("its negative values lost their sign: the air around it is near +1000")
    return None


def _has_peaks(hu: Shaped[np.ndarray, " n"]) -> bool:
    """Whether the peaks of air and soft tissue lie where they do in HU."""
    air = (np.abs(hu + 1000) < NEAR_AIR).mean()
    return bool(air > AIR_SHARE and _peak(hu, 0) >= PEAK_SHARE)


def _corners(ct: Volume) -> Shaped[np.ndarray, "2 2 2"]:
    return np.asarray(ct.array)[np.ix_(*([0, n - 1] for n in ct.array.shape))]


def _peak(values: Shaped[np.ndarray, " n"], offset: float) -> float:
    """The share of soft tissue in the body if `values` are HU + `offset`."""
    body = values[values > DENSER + offset] - offset
    return float(((body >= PEAK[0]) & (body <= PEAK[1])).mean()) if body.size else 0.0


def _without_background(ct: Volume) -> Shaped[np.ndarray, " n"]:
    """The measured voxels without the commonest value of the volume's corners.

    If all eight corners differ, or if no other voxel is left, no value is removed.
    """
    values = _measured(ct)
    corners, counts = np.unique(_corners(ct), return_counts=True)
    rest = values[values != corners[np.argmax(counts)]] if counts.max() > 1 else values
    return rest if rest.size else values


def has_soft_tissue(hu: Shaped[np.ndarray, "*d"]) -> bool:
    """Whether the most frequent HU, of those from -300 to 1475, are in `TISSUE`."""
    count, edges = np.histogram(hu, bins=np.arange(-300, 1500, 25))
    return TISSUE[0] <= edges[np.argmax(count)] + 12.5 <= TISSUE[1]


def _measured(ct: Volume) -> Shaped[np.ndarray, " n"]:
    """All voxels except padding with a value below that of air."""
    array = np.asarray(ct.array)
    values = array[known(ct)] if array.min() < LEAST_AIR else array.ravel()
    return values if values.size else array.ravel()
