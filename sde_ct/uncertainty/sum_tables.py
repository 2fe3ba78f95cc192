"""Sums over voxels, structures and path lengths of judged methods, as tables and files."""

from collections.abc import Mapping
from pathlib import Path

from sde_ct.storage.whole import whole, write_json
from sde_ct.uncertainty import range_table, summed
from sde_ct.uncertainty.judgement import Judgements
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.uncertainty.summed import SpreadError
from sde_ct.uncertainty.sums import Sums
from sde_ct.uncertainty.text import aligned

CSV_NAME, JSON_NAME = NAMES = ("rays.csv", "rays.json")


def lines(judgements: Judgements) -> list[str]:
    """Tables for a terminal: medians of sums, and the mean HU of structures if there are any."""
    head = ["method", "along x", "along y", "along z", "slice change", "energy", "variogram"]
    rows = [
        [method, *(f"{of.sums[name]:.2f}" if name in of.sums else "-" for name in Sums._fields)]
        for method, of in judgements.items()
    ]
    sentence = (
        "Sums over voxels, medians over patients. Along x, y and z: spread over error of the mean "
        "HU of lines. Slice change: the change from slice to slice of a draw over that of the real "
        "CT. For these figures 1 is right. Energy and variogram score are in HU; lower is better."
    )
    structures = {m: of.structures for m, of in judgements.items() if of.structures}
    return [
        *aligned([head, *rows]),
        sentence,
        *(["", *_errors(structures, "structure"), "Mean HU of structures."] if structures else []),
    ]


def range_lines(judgements: Judgements) -> list[str]:
    """Tables for a terminal: path lengths over patients, and of a method's only patient."""
    alone = [ranges for of in _rays(judgements).values() if len(of) == 1 for ranges in of.values()]
    return [
        *(line for ranges in alone for line in (*range_table.lines(ranges), "")),
        *_errors(of_methods(judgements), "gantry"),
        "Water-equivalent path lengths in mm, of the mean over the draws against the real CT, to "
        "the target's centre and over all rays to its surface.",
    ]


def of_methods(judgements: Judgements) -> dict[str, dict[str, SpreadError]]:
    """The path lengths over patients, by method and the name of their row, mm."""
    return {name: summed.of_rays(list(of.values())) for name, of in _rays(judgements).items()}


def _errors(methods: Mapping[str, Mapping[str, SpreadError]], what: str) -> list[str]:
    """Spread and error of figures over patients, as a table."""
    table = [
        ["method", what, "patients", "error of mean", "RMS error", "spread", "spread over error"]
    ]
    for method, figures in methods.items():
        for name, of in figures.items():
            cells = f"{of.error:+.2f}", f"{of.rms_error:.2f}", f"{of.spread:.2f}"
            table.append([method, name, str(of.patients), *cells, f"{of.spread_over_error:.2f}"])
    return aligned(table, 2)


def write_ranges(folder: Path, judgements: Judgements) -> None:
    """Write `rays.csv`, a line for each row of `TargetRanges`, and `rays.json` with every ray."""
    methods, over_patients = _rays(judgements), of_methods(judgements)
    rows = {(m, name): one.rows() for m, of in methods.items() for name, one in of.items()}
    with whole(folder / CSV_NAME) as partial:
        partial.write_text(range_table.csv_text(rows, ("method", "patient")), "utf-8", newline="")
    values = {
        method: {
            "over_patients": {
                name: {key: range_table.plain(value) for key, value in one._asdict().items()}
                for name, one in over_patients[method].items()
            },
            "patients": {name: range_table.record(one) for name, one in of.items()},
        }
        for method, of in methods.items()
    }
    write_json(folder / JSON_NAME, {"methods": values})


def _rays(judgements: Judgements) -> dict[str, dict[str, TargetRanges]]:
    """The path lengths by method and patient."""
    return {
        method: {n: one.ranges for n, one in of.patients.items() if one.ranges is not None}
        for method, of in judgements.items()
    }
