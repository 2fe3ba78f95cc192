"""Volumes as text for a page: int16 voxels, deflated without loss, in base64."""

import base64
import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Int16, Shaped

from sde_ct.volumes.volume import Volume, canonical, rounded_hu

LEVELS = 4095  # steps from 0 to the largest value, if an MR is not stored unchanged
ALL = slice(None)


class Quantised(NamedTuple):
    """Voxels [z, y, x] with axes nearest to RAS+; a value is scale * voxel."""

    voxels: Int16[np.ndarray, "z y x"]
    scale: float


def quantise_hu(volume: Volume, z: slice | np.ndarray = ALL) -> Int16[np.ndarray, "z y x"]:
    """Rounded HU of the axial slices `z`, counted from inferior."""
    return _ordered(rounded_hu(canonical(volume).array[..., z]))


def quantise_mr(volume: Volume, z: slice | np.ndarray = ALL) -> Quantised:
    """The axial slices `z`, unchanged if int16 holds all voxels exactly, else in `LEVELS` steps."""
    top = float(np.abs(volume.array).max(initial=0.0))
    whole = top <= np.iinfo(np.int16).max and np.array_equal(volume.array, np.rint(volume.array))
    scale = 1.0 if whole else top / LEVELS
    return Quantised(_ordered(np.rint(canonical(volume).array[..., z] / scale)), scale)


def _ordered(array: Shaped[np.ndarray, "x y z"]) -> Int16[np.ndarray, "z y x"]:
    return np.ascontiguousarray(array.transpose(2, 1, 0), dtype=np.int16)


def encode(voxels: Int16[np.ndarray, "z y x"]) -> str:
    """The text that `volumes.js` decodes.

    It contains the differences between neighbouring voxels, mapped to positive numbers (0, -1, 1,
    -2 to 0, 1, 2, 3), and all low bytes before all high bytes. Most differences are small, so most
    high bytes are 0, and the text is a quarter shorter than that of plain int16.
    """
    step = np.diff(voxels.ravel(), prepend=np.int16(0))  # modulo 2^16, as in the decoder's sum
    folded = (step << 1) ^ (step >> 15)
    planes = np.ascontiguousarray(folded.astype("<i2").view(np.uint8).reshape(-1, 2).T)
    # Higher levels of compression gain 1 % and take three times as long.
    return base64.b64encode(zlib.compress(planes.tobytes(), level=6)).decode("ascii")
