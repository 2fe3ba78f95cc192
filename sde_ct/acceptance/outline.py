"""The outline of the body on a coarse grid, on which large faults of an MR are measured."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

COARSE_MM = 6.0  # in-plane size of the coarse voxels
CLOSING = 2  # iterations of the binary closing, in coarse voxels
AIR, TISSUE = 5.0, 95.0  # percentiles of the coarse voxels, surely in air and in tissue
DIM = 25.0  # percentile of dim tissue among the voxels that are nearer to tissue than to air


def coarse(image: Float[np.ndarray, "x y z"], voxel: np.ndarray) -> Float[np.ndarray, "i j z"]:
    """Means over in-plane blocks of about `COARSE_MM`; edge voxels fill up the last blocks."""
    fx, fy = _factors(voxel)
    padded = np.pad(image, ((0, -image.shape[0] % fx), (0, -image.shape[1] % fy), (0, 0)), "edge")
    nx, ny, nz = padded.shape
    return padded.reshape(nx // fx, fx, ny // fy, fy, nz).mean(axis=(1, 3))


def fine(
    blocks: Float[np.ndarray, "i j z"], shape: tuple[int, ...], voxel: np.ndarray
) -> Float[np.ndarray, "x y z"]:
    """The voxels of an image of this shape, each with the value of its block of `coarse`."""
    fx, fy = _factors(voxel)
    return blocks.repeat(fx, axis=0).repeat(fy, axis=1)[: shape[0], : shape[1]]


def filled(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The mask with its gaps and holes closed in every slice."""
    padded = np.pad(mask, ((CLOSING, CLOSING), (CLOSING, CLOSING), (0, 0)))
    planes = [
        ndimage.binary_fill_holes(ndimage.binary_closing(padded[..., z], iterations=CLOSING))
        for z in range(mask.shape[2])
    ]
    return np.stack(planes, axis=-1)[CLOSING:-CLOSING, CLOSING:-CLOSING]


def sure_body(blocks: Float[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The voxels that are nearer to dim tissue than to air in brightness, after smoothing.

    The level of air is measured, because noise and ghosts raise it.
    """
    smooth = ndimage.gaussian_filter(blocks, (1, 1, 0))
    air, tissue = np.percentile(smooth, (AIR, TISSUE))
    bright = smooth[smooth > (air + tissue) / 2]
    return filled(smooth > (air + np.percentile(bright, DIM)) / 2 if bright.size else smooth > air)


def faint_body(
    image: Float[np.ndarray, "x y z"], voxel: np.ndarray, level: float, share: float
) -> Bool[np.ndarray, "x y z"]:
    """The body, including tissues only a little brighter than air, such as suppressed fat.

    Args:
      image: a.u.
      voxel: mm.
      level: a usual value in the body, a.u.
      share: a voxel belongs to the body from this share of the way from air to `level`.
    """
    blocks = ndimage.gaussian_filter(coarse(image, voxel), (1, 1, 0))
    air = min(float(np.percentile(blocks, AIR)), level)
    body = filled(blocks > air + share * (level - air))
    labels, count = ndimage.label(body)
    if count:
        body = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return fine(body, image.shape, voxel)


def _factors(voxel: np.ndarray) -> tuple[int, int]:
    fx, fy = (max(1, round(COARSE_MM / side)) for side in voxel[:2])
    return fx, fy
