"""A volume as text for a page: exact int16 voxels, deflated, base64."""

import base64
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, Shaped, UInt8

from sde_ct.volumes.volume import Volume, canonical, rounded_hu

LEVELS = 4095  # steps over an MR's range where its values are no small integers
ALL = slice(None)
LEVEL = 6  # of zlib: higher ones gain 1 % for three times the time


class Quantised(NamedTuple):
    """Voxels [z, y, x] with axes nearest to RAS+; value = slope * voxel."""

    voxels: Int16[np.ndarray, "z y x"]
    slope: float


def quantise_hu(volume: Volume, z: slice | np.ndarray = ALL) -> Int16[np.ndarray, "z y x"]:
    """Rounded HU of the axial slices `z`, counted from inferior."""
    return _ordered(rounded_hu(canonical(volume).array[..., z]))


def quantise_mr(volume: Volume, z: slice | np.ndarray = ALL) -> Quantised:
    """Whole numbers as they are; others in `LEVELS` steps of the volume's largest one."""
    top = float(np.abs(volume.array).max(initial=0.0))
    whole = top <= np.iinfo(np.int16).max and np.array_equal(volume.array, np.rint(volume.array))
    slope = 1.0 if whole else top / LEVELS
    return Quantised(_ordered(np.rint(canonical(volume).array[..., z] / slope)), slope)


def _ordered(array: Shaped[np.ndarray, "x y z"]) -> Int16[np.ndarray, "z y x"]:
    return np.ascontiguousarray(array.transpose(2, 1, 0), dtype=np.int16)


def encode(voxels: Int16[np.ndarray, "z y x"]) -> str:
    """Base64 of the deflated `filtered` bytes; `volumes.js` undoes it."""
    return base64.b64encode(zlib.compress(filtered(voxels).tobytes(), LEVEL)).decode("ascii")


def filtered(voxels: Int16[np.ndarray, "z y x"]) -> UInt8[np.ndarray, "2 n"]:
    """Steps from voxel to voxel, signs folded (0, -1, 1, -2 to 0, 1, 2, 3), low bytes first.

    Neighbours are alike, so the high bytes are nearly all 0: a quarter less than plain int16 takes.
    """
    flat = voxels.ravel()
    step = np.diff(flat, prepend=np.int16(0))  # modulo 2^16, as the sum that undoes it
    folded = (step << 1) ^ (step >> 15)
    return np.ascontiguousarray(folded.astype("<i2").view(np.uint8).reshape(-1, 2).T)
