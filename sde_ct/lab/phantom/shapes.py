"""Signed distances of simple shapes on a patient's grid, the geometry the phantom is drawn with.

A `Chain` is a polyline of discs joined by straight tapered strips, in the axial plane; its points
move along z by monotone cubic interpolation between key levels, so every organ is smooth along z.
Distances are in mm, negative inside, measured in the axial plane for chains and to first order for
ellipsoids.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

FAR = np.float32(1e3)  # mm: no shape near
MARGIN = 10.0  # mm around a shape where its distance is still evaluated

Index = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """Anatomical coordinates, mm, of every sample: x to the right, y anterior, z superior.

    x and y are warped and turned per sample; z depends on the slice alone.
    """

    x: Float[np.ndarray, "x y z"]
    y: Float[np.ndarray, "x y z"]
    z: Float[np.ndarray, " z"]
    columns: tuple[Float[np.ndarray, "x"], Float[np.ndarray, "x"]]  # least and greatest x
    rows: tuple[Float[np.ndarray, "y"], Float[np.ndarray, "y"]]  # least and greatest y

    @classmethod
    def of(cls, x, y, z) -> "Grid":
        columns = (x.min(axis=(1, 2)), x.max(axis=(1, 2)))
        rows = (y.min(axis=(0, 2)), y.max(axis=(0, 2)))
        return cls(x, y, z, columns, rows)

    def box(self, low: np.ndarray, high: np.ndarray, levels: np.ndarray) -> Index | None:
        """The smallest index box holding x, y in [low, high] and the true entries of `levels`."""
        inside = (
            (self.columns[1] >= low[0]) & (self.columns[0] <= high[0]),
            (self.rows[1] >= low[1]) & (self.rows[0] <= high[1]),
            levels,
        )
        found = [np.flatnonzero(hits) for hits in inside]
        if any(len(hits) == 0 for hits in found):
            return None
        return tuple(slice(int(hits[0]), int(hits[-1]) + 1) for hits in found)  # type: ignore[return-value]


@dataclass(frozen=True)
class Chain:
    """Discs (x, y, radius) in mm at key levels z in mm; a radius below 0 means: not there."""

    levels: tuple[float, ...]
    points: tuple[tuple[tuple[float, float, float], ...], ...]

    @classmethod
    def at(cls, keys: dict[float, tuple[tuple[float, float, float], ...]]) -> "Chain":
        return cls(tuple(keys), tuple(keys.values()))

    def distance(
        self, grid: Grid, *, side: int = 1, lift: float = 0.0, grow: float = 0.0
    ) -> tuple[Index, Float[np.ndarray, "a b c"]] | None:
        """Distance inside the shape's box, or None where the grid misses it.

        Args:
          side: 1 as given, -1 mirrored in the sagittal plane.
          lift: mm by which the shape is raised.
          grow: mm added to every radius.
        """
        points = _interpolator(self)(np.clip(grid.z - lift, self.levels[0], self.levels[-1]))
        points = points.astype(np.float32)  # [z, point, (x, y, r)]
        points[..., 0] *= side
        points[..., 2] += grow
        present = (points[..., 2] > 0).any(axis=1)
        if not present.any():
            return None
        reach = points[present, :, 2:].clip(0) + MARGIN
        low = (points[present, :, :2] - reach).min(axis=(0, 1))
        high = (points[present, :, :2] + reach).max(axis=(0, 1))
        box = grid.box(low, high, present)
        if box is None:
            return None
        return box, _chain_distance(grid.x[box], grid.y[box], points[box[2]])


@dataclass(frozen=True)
class Ellipsoid:
    """An axis-aligned ellipsoid: centre and radii in mm."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(
        self, grid: Grid, *, side: int = 1, lift: float = 0.0, grow: float = 0.0
    ) -> tuple[Index, Float[np.ndarray, "a b c"]] | None:
        """As `Chain.distance`; to first order, f (f - 1) / |∇f| with f² = Σ (offset/radius)²."""
        centre = np.array(self.centre) * [side, 1, 1] + [0, 0, lift]
        radii = np.array(self.radii) + grow
        levels = np.abs(grid.z - centre[2]) < radii[2] + MARGIN
        box = grid.box(centre[:2] - radii[:2] - MARGIN, centre[:2] + radii[:2] + MARGIN, levels)
        if box is None:
            return None
        offset = (grid.x[box] - centre[0], grid.y[box] - centre[1], grid.z[box[2]] - centre[2])
        norm, slope = (
            np.sqrt(
                sum((d / np.float32(r**power)) ** 2 for d, r in zip(offset, radii, strict=True))
            )
            for power in (1, 2)
        )
        return box, (norm * (norm - 1) / np.maximum(slope, 1e-6)).astype(np.float32)


Shape = Chain | Ellipsoid


@cache
def _interpolator(chain: Chain) -> PchipInterpolator:
    return PchipInterpolator(chain.levels, np.array(chain.points, dtype=np.float64), axis=0)


def _chain_distance(x, y, points):
    """Least distance over the chain's tapered strips; points [z, point, (x, y, r)]."""
    if points.shape[1] == 1:
        px, py, r = points[:, 0].T
        return np.hypot(x - px, y - py) - r
    distance = np.full(x.shape, FAR, dtype=np.float32)
    for a, b in zip(points.swapaxes(0, 1)[:-1], points.swapaxes(0, 1)[1:], strict=True):
        (ax, ay, ar), (bx, by, br) = a.T, b.T
        dx, dy = bx - ax, by - ay
        scale = 1 / np.maximum(dx**2 + dy**2, 1e-6)
        ox, oy = x - ax, y - ay
        along = np.clip(ox * (dx * scale) + oy * (dy * scale), 0, 1)
        ox -= along * dx
        oy -= along * dy
        strip = np.sqrt(ox * ox + oy * oy) - (ar + along * (br - ar))
        np.minimum(distance, strip, out=distance)
    return distance


def union(field: Float[np.ndarray, "x y z"], box: Index, distance: np.ndarray, blend: float = 4.0):
    """Join a shape into a distance field in place, corners rounded over `blend` mm."""
    old = field[box]
    overlap = np.maximum(blend - np.abs(old - distance), 0)
    field[box] = np.minimum(old, distance) - overlap * overlap / (4 * blend)
