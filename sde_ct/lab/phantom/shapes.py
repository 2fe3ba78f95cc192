"""Signed distances to the simple shapes with which the phantom is drawn.

Distances are in mm and negative inside. Those to chains are in the axial plane, exact for equal
discs and approximate for tapered strips. Those to ellipsoids are correct to first order.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator

FAR = np.float32(1e3)  # mm; stands for "no shape near"
MARGIN = 10.0  # mm around a shape within which its distance is evaluated

Index = tuple[slice, slice, slice]
Discs = tuple[tuple[float, float, float], ...]
Stroke = tuple[Index, Float[np.ndarray, "a b c"]]  # an index box and the distances inside it


@dataclass(frozen=True)
class Grid:
    """Anatomical coordinates of every sample in mm: x to the right, y anterior, z superior.

    x and y differ from sample to sample, because the patient is warped and turned; z is one number
    for each slice.
    """

    x: Float[np.ndarray, "x y z"]
    y: Float[np.ndarray, "x y z"]
    z: Float[np.ndarray, " z"]

    @cached_property
    def _ranges(self):
        columns = self.x.min(axis=(1, 2)), self.x.max(axis=(1, 2))
        return columns, (self.y.min(axis=(0, 2)), self.y.max(axis=(0, 2)))

    def box(self, low: np.ndarray, high: np.ndarray, levels: np.ndarray) -> Index | None:
        """An index box that holds every sample with x, y in [low, high] and a true level.

        None if there is no such x, y or level.
        """
        pairs = zip(self._ranges, low, high, strict=True)
        axes = [(most >= a) & (least <= b) for (least, most), a, b in pairs]
        hits = [np.flatnonzero(inside) for inside in (*axes, levels)]
        if not all(map(len, hits)):
            return None
        return tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)  # type: ignore[return-value]


@dataclass(frozen=True)
class Chain:
    """In every axial plane, a polyline of discs that straight tapered strips join.

    `keys` maps key levels z to discs (x, y, radius), all in mm. Between the levels, discs are
    interpolated by monotone cubic polynomials. A disc with a radius below 0 is absent.
    """

    keys: dict[float, Discs]

    @cached_property
    def _between(self) -> PchipInterpolator:
        return PchipInterpolator(list(self.keys), np.array(list(self.keys.values()), float), axis=0)

    def distance(
        self, grid: Grid, *, side: int = 1, lift: float = 0.0, grow: float = 0.0
    ) -> Stroke | None:
        """The distance within the shape's box, or None if the grid does not reach the shape.

        Args:
          side: 1 as given, -1 mirrored in the sagittal plane.
          lift: mm by which the shape is raised.
          grow: mm added to every radius.
        """
        points = self._between(np.clip(grid.z - lift, min(self.keys), max(self.keys)))
        points = points.astype(np.float32)  # [z, point, (x, y, r)]
        points[..., 0] *= side
        points[..., 2] += grow
        present = (points[..., 2] > 0).any(axis=1)
        if not present.any():
            return None
        centres, reach = points[present, :, :2], points[present, :, 2:].clip(0) + MARGIN
        low, high = (centres - reach).min(axis=(0, 1)), (centres + reach).max(axis=(0, 1))
        box = grid.box(low, high, present)
        return box and (box, _chain_distance(grid.x[box], grid.y[box], points[box[2]]))


@dataclass(frozen=True)
class Ellipsoid:
    """An axis-aligned ellipsoid: centre and radii in mm."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(
        self, grid: Grid, *, side: int = 1, lift: float = 0.0, grow: float = 0.0
    ) -> Stroke | None:
        """As `Chain.distance`; to first order, (f - 1) / |∇f| with f² = Σ (offset/radius)²."""
        centre = np.array(self.centre) * [side, 1, 1] + [0, 0, lift]
        radii = np.array(self.radii) + grow
        levels = np.abs(grid.z - centre[2]) < radii[2] + MARGIN
        box = grid.box(centre[:2] - radii[:2] - MARGIN, centre[:2] + radii[:2] + MARGIN, levels)
        if box is None:
            return None
        offset = (grid.x[box] - centre[0], grid.y[box] - centre[1], grid.z[box[2]] - centre[2])
        f, f_gradient = (  # f and f |∇f|
            np.sqrt(
                sum((d / np.float32(r**power)) ** 2 for d, r in zip(offset, radii, strict=True))
            )
            for power in (1, 2)
        )
        return box, (f * (f - 1) / np.maximum(f_gradient, 1e-6)).astype(np.float32)


Shape = Chain | Ellipsoid


def _chain_distance(x, y, points):
    """The smallest distance to the chain's tapered strips; points [z, point, (x, y, r)]."""
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
    """Unite a shape with a distance field in place, with corners rounded over `blend` mm."""
    old = field[box]
    overlap = np.maximum(blend - np.abs(old - distance), 0)
    field[box] = np.minimum(old, distance) - overlap * overlap / (4 * blend)
