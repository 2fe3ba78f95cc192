"""The mean HU of the structures of one patient as a table for a terminal and as JSON."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from sde_ct.uncertainty.range_table import plain
from sde_ct.uncertainty.structure_bounds import StructureBounds
from sde_ct.uncertainty.structures import StructureMean
from sde_ct.uncertainty.text import aligned


class StructureRow(NamedTuple):
    """One structure; all figures except `volume` are in HU."""

    name: str
    volume: float  # cm³
    mean: float  # over draws of the mean HU
    spread: float  # standard deviation over draws
    lower: float
    upper: float
    interval: str  # what lower and upper are, in words


def rows(
    structures: Mapping[str, StructureMean], voxel_mm3: float, bounds: StructureBounds | None
) -> list[StructureRow]:
    """A row for each structure. Without finite bounds, the interval is the range of the draws."""
    made = []
    for name, one in structures.items():
        fitted = bounds.fitted.get(name) if bounds else None
        if fitted and isfinite(fitted.half_width):
            lower, upper = map(float, fitted.apply(one.mean, one.spread))
            interval = f"calibrated {100 * fitted.coverage:g} %"
        else:
            lower, upper = float(one.draws.min()), float(one.draws.max())
            interval = f"range of {len(one.draws)} draws"
        volume = one.voxels * voxel_mm3 / 1000
        made.append(StructureRow(name, volume, one.mean, one.spread, lower, upper, interval))
    return made


def lines(table: list[StructureRow], bounds: StructureBounds | None) -> list[str]:
    """The rows for a terminal, and what their bounds guarantee."""
    cells = [["structure", "cm³", "mean HU", "spread", "interval", "kind of interval"]]
    for row in table:
        interval = f"{row.lower:.0f} to {row.upper:.0f}"
        figures = f"{row.volume:.1f}", f"{row.mean:.0f}", f"{row.spread:.1f}"
        cells.append([row.name, *figures, interval, row.interval])
    fitted = bounds.fitted if bounds else {}
    guarantees = [fitted[row.name].guarantee for row in table if row.name in fitted]
    return [*aligned(cells), "Mean HU of structures in the draws.", *guarantees]


def record(table: list[StructureRow], bounds: StructureBounds | None) -> dict[str, Any]:
    """The rows as JSON values, with the guarantee of each bound."""
    guarantees = {n: one.guarantee for n, one in bounds.fitted.items()} if bounds else {}
    return {
        "unit": "HU",
        "structures": {
            row.name: {key: plain(value) for key, value in row._asdict().items() if key != "name"}
            | {"guarantee": guarantees.get(row.name)}
            for row in table
        },
    }
