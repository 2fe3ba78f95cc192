"""The path lengths of a plan in one patient, by gantry angle."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from sde_ct.errors import InputError
from sde_ct.uncertainty.path_length import Draws, RangeFigures, range_figures
from sde_ct.uncertainty.ray_plan import RayPlan
from sde_ct.uncertainty.rays import Rays, ray_matrix, rays_to, target_points
from sde_ct.volumes.masks import CtVolume, Mask
from sde_ct.volumes.volume import Volume

SURFACE = "surface"  # the name of the row of all rays to the target's surface


class RangeRow(NamedTuple):
    """Path lengths in mm of the ray to the target's centre from one gantry angle.

    If `gantry` is None, the lengths are means over the measured rays to the surface, and `spread`
    is a root mean square. Without a real CT, `real` and `error` are None.
    """

    gantry: float | None
    rays: int
    nominal: float  # in the mean CT
    mean: float  # over the draws
    spread: float  # standard deviation over the draws
    lower: float  # of the interval
    upper: float
    real: float | None = None
    error: float | None = None  # nominal - real

    @property
    def name(self) -> str:
        return SURFACE if self.gantry is None else f"{self.gantry:g}"


class TargetRanges(NamedTuple):
    """The path lengths of a plan in one patient.

    Attributes:
        figures: of all rays; `real` is NaN for a ray that leaves the measured part of the CT.
        bounds: lower and upper bound of each ray, mm.
        interval: what the bounds are, such as "range of the 10 draws".
        guarantee: what calibrated bounds guarantee, in a sentence; otherwise empty.
    """

    plan: RayPlan
    rays: Rays
    figures: RangeFigures
    bounds: Float[np.ndarray, "2 r"]
    interval: str
    guarantee: str = ""

    @property
    def central(self) -> np.ndarray:
        """Which rays lead to the target's centre: the first of each gantry angle."""
        each = len(self.rays.gantry) // len(self.plan.gantry)
        return np.arange(len(self.rays.gantry)) % each == 0

    @property
    def unmeasured(self) -> int:
        """The number of rays that the real CT did not measure over their full length."""
        return 0 if self.figures.real is None else int(np.isnan(self.figures.real).sum())

    def groups(self) -> dict[str, Int[np.ndarray, " n"]]:
        """The indices of the rays of each row, by its name.

        Each ray to the centre has its own row. The rays to the surface share the row `SURFACE`,
        without those that a real CT did not measure over their full length.
        """
        groups = {f"{self.rays.gantry[i]:g}": np.array([i]) for i in np.flatnonzero(self.central)}
        surface = ~self.central
        if self.figures.real is not None:
            surface &= ~np.isnan(self.figures.real)
        return groups | ({SURFACE: np.flatnonzero(surface)} if surface.any() else {})

    def rows(self) -> list[RangeRow]:
        """One row for each of the `groups`."""
        return [self._row(name, chosen) for name, chosen in self.groups().items()]

    def _row(self, name: str, chosen: np.ndarray) -> RangeRow:
        figures = self.figures
        gantry = None if name == SURFACE else float(self.rays.gantry[chosen[0]])

        def mean(values: np.ndarray | None) -> float:
            return float(np.mean(values[chosen]))  # type: ignore[index]

        return RangeRow(
            gantry,
            np.size(chosen),
            mean(figures.nominal),
            mean(figures.mean),
            float(np.sqrt(mean(np.square(figures.spread)))),
            *map(mean, self.bounds),
            *(None if values is None else mean(values) for values in (figures.real, figures.error)),
        )


def target_ranges(
    draws: Draws,
    target: Volume,
    plan: RayPlan,
    body: Mask,
    *,
    ct: CtVolume | None = None,
    measured: Mask | None = None,
    centre_only: bool = False,
) -> TargetRanges:
    """The path lengths from all gantry angles to a target, with the range of the draws as bounds.

    Args:
        draws: M >= 2 CTs on the grid of the target, HU.
        target: a mask that is not empty.
        plan: gantry angles and stopping powers.
        body: the voxels that count along the rays; all others, such as a couch, count as 0.
        ct: the real CT on this grid, HU.
        measured: where the real CT was measured; None if everywhere.
        centre_only: leave out the rays to the surface of the target.

    Raises:
        InputError: the target lies outside the body, or `rays_to` or `range_figures` refuses.
    """
    body = np.asarray(body) > 0
    if not body[target.array > 0].any():
        raise InputError("The target lies outside the body: give a target of this patient.")
    points = target_points(target.array, target.affine)
    grid = target.affine, target.array.shape
    rays = rays_to(points[:1] if centre_only else points, plan.gantry, *grid)
    matrix = ray_matrix(rays, *grid, within=body)
    figures = range_figures(draws, matrix, plan.table, ct=ct)
    if figures.real is not None and measured is not None:
        missing = matrix @ (~measured).reshape(-1) > 0
        figures = figures._replace(real=np.where(missing, np.nan, figures.real))
    bounds = np.stack([figures.lengths.min(axis=0), figures.lengths.max(axis=0)])
    return TargetRanges(plan, rays, figures, bounds, f"range of the {len(draws)} draws")
