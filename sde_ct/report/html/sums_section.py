"""Sums over voxels, structures and path lengths as tables."""

from collections.abc import Mapping

from sde_ct.report.html.metric_tables import Cell, Table, number
from sde_ct.uncertainty.judgement import Judgements
from sde_ct.uncertainty.sum_tables import of_methods
from sde_ct.uncertainty.summed import SpreadError
from sde_ct.uncertainty.sums import Sums

HEAD = ["along x", "along y", "along z", "slice change", "energy (HU)", "variogram (HU)"]


def tables(judgements: Judgements) -> list[Table]:
    """The sums of all methods, and the structures and path lengths if they were measured."""
    if not judgements:
        return []
    sums = [
        [Cell(method, method), *(number(of.sums.get(name), 2) for name in Sums._fields)]
        for method, of in judgements.items()
    ]
    caption = (
        "Sums over voxels, medians over patients. Along x, y and z: spread over error of the mean "
        "HU of lines of voxels; slice change: change from slice to slice relative to the real CT; "
        "1 is right for both. Energy and variogram score: lower is better"
    )
    structures = {method: of.structures for method, of in judgements.items()}
    further = [
        _errors("Mean HU of structures", "structure", structures),
        _errors("Water-equivalent path lengths (mm)", "gantry (°)", of_methods(judgements)),
    ]
    return [Table(caption, ["method", *HEAD], sums), *(table for table in further if table.lines)]


def _errors(caption: str, what: str, methods: Mapping[str, Mapping[str, SpreadError]]) -> Table:
    lines = [
        [Cell(method, method), Cell(name, name), number(of.patients, 0)]
        + [number(value, 2) for value in (of.error, of.rms_error, of.spread, of.spread_over_error)]
        for method, figures in methods.items()
        for name, of in figures.items()
    ]
    head = ["method", what, "patients", "error of mean", "RMS error", "spread", "spread over error"]
    return Table(f"{caption}: mean of the draws against the CT, over patients", head, lines)
