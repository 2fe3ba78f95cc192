"""The difference between left and right in an MR, which shows whether a patient is mirrored."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

GRID = (24, 18)  # cells from left to right and from back to front of the body
PARTS = 6  # along z
BLUR = 2.0  # cells; smoother differences are removed, because coils and turned patients cause them
RIDGE = 1.0  # of the covariance, in mean variances; needed with more cells than patients
FARTHEST = 1.5  # the largest |v| that counts; the mean of mirrored patients has v = 1

Asymmetry = Float[np.ndarray, " e"]


def asymmetry(image: Float[np.ndarray, "x y z"], body: Bool[np.ndarray, "x y z"]) -> Asymmetry:
    """The local grey values of an MR minus those of its mirror image, on a grid over the body.

    Args:
      image: 0 at the dark and 1 at the bright end of the body; x goes from side to side.
      body: where the patient is. All values are 0 if it is empty.
    """
    if not body.any():
        return np.zeros(GRID[0] // 2 * GRID[1] * PARTS)
    box = ndimage.find_objects(body.astype(np.uint8))[0][:2]
    inside = (np.clip(image, 0, 1) * body)[box]
    size = np.array(inside.shape[:2])
    cells = ndimage.gaussian_filter(inside, (*(size / GRID / 2), 0))
    cells = ndimage.zoom(cells, (*(GRID / size), 1), order=1, grid_mode=True, mode="nearest")
    cells = cells - ndimage.gaussian_filter(cells, (BLUR, BLUR, 0))
    slices = max(cells.shape[2], PARTS)  # with few slices, each counts several times
    cells = cells[..., np.arange(slices) * cells.shape[2] // slices]
    parts = np.stack([one.mean(axis=2) for one in np.array_split(cells, PARTS, axis=2)], axis=-1)
    return (parts - parts[::-1])[: GRID[0] // 2].ravel()


def mirrored_odds(patient: Asymmetry, training: Float[np.ndarray, "p e"]) -> float:
    """How much more the patient is like the training's mirror images than like the training.

    This is e^(2v), where v is the patient's asymmetry along Fisher's discriminant between the two:
    v is -1 for the mean of the training and 1 for that of its mirror images. By v alone, a mirrored
    patient is not much farther from the mean than the least typical patient of the training; by
    e^(2v) he is several times as far. Where left and right differ only by chance, |v| is often
    large although no patient is mirrored, so v is clipped to ±`FARTHEST`.
    """
    usual = training.mean(axis=0)
    apart = training - usual
    # The covariance has at most rank p (patients), so a p x p matrix is inverted (Woodbury).
    small = apart @ apart.T
    ridge = RIDGE * max(np.trace(small) / len(usual), 1e-9)
    inner = np.linalg.solve(small + ridge * np.eye(len(small)), apart @ usual)
    weights = usual - apart.T @ inner
    value = -float(patient @ weights) / max(float(usual @ weights), 1e-9)
    return float(np.exp(2 * np.clip(value, -FARTHEST, FARTHEST)))
