"""What identifies voxels whatever the file that holds them."""

import hashlib

import numpy as np
from jaxtyping import Shaped


def voxel_sha256(array: Shaped[np.ndarray, "x y z"]) -> str:
    """SHA-256, in hex, of shape and values (as little-endian float32, last axis fastest)."""
    digest = hashlib.sha256(repr(tuple(array.shape)).encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
