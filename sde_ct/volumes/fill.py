"""Find the constant values with which programs fill unmeasured parts of a volume.

Scanners pad a round field of view with one value, such as -1024, -1000 or 0. Registration programs
do the same with voxels that the moved image does not reach. The measured region is convex: a box or
a cylinder in any direction. Every filled part beyond it therefore reaches an edge of the volume's
box.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

AIR = -850.0  # HU; air lies below this value
LEAST_AIR = -1050.0  # HU; values below this one are padding, not air
CANDIDATES = 4  # the number of most common values on the box's edges that are examined
LEAST_EDGE = 0.01  # a fill holds at least this fraction of the voxels on the box's edges
# A fill is at least this fraction of the volume; equal voxels in noise form smaller groups.
LEAST_PART = 1e-3
MOST = 0.5  # at least this fraction of a fill lies beyond the convex hull of all other voxels
FEW = 20  # at most this many values mean a phantom without noise, whose tissue is constant too
SAMPLE = 200_000  # values are counted in about this many voxels


def constant_parts(
    hu: Shaped[np.ndarray, "x y z"],
) -> Iterator[tuple[float, Bool[np.ndarray, "x y z"]]]:
    """Each constant value that extends inwards from an edge of the box, and its voxels.

    `hu` holds whole numbers. Small groups of voxels that are equal by chance are left out.
    """
    edges = np.concatenate([_edges(hu, axis) for axis in range(3)])
    values, counts = np.unique(edges, return_counts=True)
    for k in np.argsort(-counts, kind="stable")[:CANDIDATES]:
        if counts[k] < LEAST_EDGE * edges.size:
            break
        equal = hu == values[k]
        if equal.sum() < LEAST_PART * hu.size:
            continue
        labels, _ = ndimage.label(equal)
        at_edges = np.unique(np.concatenate([_edges(labels, axis) for axis in range(3)]))
        large = np.flatnonzero(np.bincount(labels.ravel()) >= LEAST_PART * hu.size)
        chosen = np.intersect1d(at_edges[at_edges > 0], large)
        if chosen.size:
            yield float(values[k]), _without_spikes(np.isin(labels, chosen))


def plain_fill(hu: Shaped[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The voxels of a CT (HU) that are filled with a value other than that of air.

    If the CT's smallest value lies above the HU of air, it is not a fill but the air of a CT that
    was clipped at a lower limit. Tissue that was clipped at an upper limit is not a fill, because
    it does not lie beyond the convex hull of the other voxels. In a phantom without noise, where
    tissue is constant too, a value is a fill only if it covers a whole face of the box.
    """
    hu = np.rint(np.asarray(hu, np.float32))
    filled = np.zeros(hu.shape, bool)
    least = hu.min()
    for value, part in constant_parts(hu):
        is_air = LEAST_AIR <= value <= AIR or (value > AIR and value == least)
        if is_air or (_has_few_values(hu) and not _has_whole_face(part)):
            continue
        if (part & ~hull(~part)).sum() >= MOST * part.sum():
            filled |= part
    return filled


def hull(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The voxels whose centres lie in the convex hull of the voxels of `mask`."""
    from scipy.spatial import ConvexHull  # takes a sixth of a second to import

    if not mask.any():
        return np.zeros(mask.shape, bool)
    # Each line along the first axis is described by its two ends.
    rows = np.argwhere(mask.any(axis=0))
    lines = mask[:, rows[:, 0], rows[:, 1]]
    first, last = lines.argmax(axis=0), len(lines) - 1 - lines[::-1].argmax(axis=0)
    ends = [np.column_stack([x, rows]) for x in (first - 0.5, last + 0.5)]
    half = [(0, y, z) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    points = np.concatenate([end + step for end in ends for step in half])
    facets = np.unique(ConvexHull(points).equations.round(9), axis=0)
    normal, offset = facets[:, :3], facets[:, 3:] - 1e-6  # normal · point + offset <= 0 inside
    up, down = normal[:, 0] > 1e-9, normal[:, 0] < -1e-9
    along = np.where(up | down, normal[:, 0], 1.0)[:, None]
    x, y = np.arange(mask.shape[0])[:, None], np.arange(mask.shape[1])
    inside = np.empty(mask.shape, bool)
    for z in range(mask.shape[2]):
        rest = normal[:, 1:2] * y + normal[:, 2:] * z + offset
        bound = -rest / along
        high = bound[up].min(axis=0, initial=np.inf)
        low = bound[down].max(axis=0, initial=-np.inf)
        inside[..., z] = (x <= high) & (x >= low) & (rest[~(up | down)] <= 0).all(axis=0)
    return inside


def _without_spikes(part: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Remove voxels that have the value by chance: those in no 2 x 2 square of `part`."""
    squares = [np.ones(shape, bool) for shape in ((2, 2, 1), (2, 1, 2), (1, 2, 2))]
    return np.logical_or.reduce([ndimage.binary_opening(part, square) for square in squares])


def _edges(array: Shaped[np.ndarray, "x y z"], axis: int) -> Shaped[np.ndarray, " n"]:
    """The voxels on the four edges of the box that are parallel to an axis."""
    return np.moveaxis(array, axis, 0)[:, [0, 0, -1, -1], [0, -1, 0, -1]].ravel()


def _has_whole_face(part: Bool[np.ndarray, "x y z"]) -> bool:
    return any(part.take(end, axis).all() for axis in range(3) for end in (0, -1))


def _has_few_values(hu: Shaped[np.ndarray, "x y z"]) -> bool:
    return np.unique(hu.ravel()[:: max(1, hu.size // SAMPLE)]).size <= FEW
