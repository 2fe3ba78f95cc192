"""The volumes, the pictures and the report of a comparison."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.table import DRAWN, Row
from sde_ct.lab.comparison.patients import Patient
from sde_ct.lab.comparison.synthesis import Results
from sde_ct.report import figures
from sde_ct.report.html.report_content import PatientView, Picture, Prediction, Report
from sde_ct.report.html.training_curves import read_curves
from sde_ct.uncertainty import judgement
from sde_ct.uncertainty.intervals import caveat
from sde_ct.uncertainty.judgement import Judgements
from sde_ct.volumes.files import write_volume
from sde_ct.volumes.volume import Volume

# Pictures in the output folder: name -> title and description.
PICTURES = {
    "comparison": (
        "Every method on one slice",
        "A slice of the MR, the real CT and every method's CT; below each its signed error.",
    ),
    "uncertainty": (
        "Spread and error",
        "For each sampler, the spread of its draws, the error of their mean, and error by spread.",
    ),
    "reliability": (
        "Known probabilities",
        "For each sampler, the share of bone-like draws against the known probability of bone.",
    ),
}


def write_volumes(results: Results, output: Path) -> None:
    """Write `sct/METHOD/PATIENT.nii.gz` and `sct_std/METHOD/PATIENT.nii.gz` in HU on the MR's grid.

    METHOD-M holds the mean of a sampler's draws, and METHOD the first draw.
    """
    for name, by_patient in results.items():
        for patient, result in by_patient.items():
            volumes = {Path("sct", name): result.draws[0]}
            if result.spread is not None:
                volumes[Path("sct", f"{name}-M")] = result.mean
                volumes[Path("sct_std", f"{name}-M")] = result.spread
            for folder, volume in volumes.items():
                write_volume(output / folder / f"{patient}.nii.gz", volume, overwrite=True)


def pictures(results: Results, patient: Patient, output: Path) -> None:
    """Write `comparison` and `uncertainty` of one patient's middle slice as PNG and PDF."""
    z = patient.mr.array.shape[2] // 2

    def cut(volume: Volume) -> np.ndarray:
        return volume.array[..., z].astype(np.float32)

    mr, ct, mask = cut(patient.mr), cut(patient.ct), cut(patient.mask) > 0
    cts = {name: cut(by[patient.id].draws[0]) for name, by in results.items()}
    cts |= {f"{name}-M": cut(results[name][patient.id].mean) for name in DRAWN}
    spacing = tuple(patient.mr.spacing[:2])
    figures.save(figures.comparison(mr, ct, cts, mask, spacing=spacing), output / "comparison")
    maps = {
        name: (cut(result.spread), np.abs(cut(result.mean) - ct))
        for name in DRAWN
        if (result := results[name][patient.id]).spread is not None
    }
    if maps:
        figures.save(figures.uncertainty(maps, ct, mask, spacing=spacing), output / "uncertainty")


def report_of(
    results: Results,
    patients: Sequence[Patient],
    rows: Sequence[Row],
    judged: Judgements,
    output: Path,
    provenance: Mapping[str, Any],
) -> Report:
    """The content of `report.html`, including the training runs and pictures in `output`."""
    runs = {p.parent.name: p for p in sorted(output.glob("runs/*/experiment.json"))}
    networks = {f"Network {run}": json.loads(path.read_text("utf-8")) for run, path in runs.items()}
    few = caveat(len({row.patient for row in rows}))
    return Report(
        title="Synthetic CT of phantom pelvises",
        rows=rows,
        findings=findings(rows),
        patients={patient.id: partial(_view, results, patient) for patient in patients},
        judgements=judged,
        figures=[
            Picture(title, alt, path.read_bytes())
            for name, (title, alt) in PICTURES.items()
            if (path := output / f"{name}.png").exists()
        ],
        curves=read_curves(output / "runs"),
        provenance={**provenance, **networks},
        warnings=[*filter(None, [few]), *judgement.warnings(judged)],
    )


def _view(results: Results, patient: Patient) -> PatientView:
    cts = {name: by_patient[patient.id] for name, by_patient in results.items()}
    methods = {name: Prediction(ct.mean, ct.spread, ct.draws) for name, ct in cts.items()}
    return PatientView(patient.id, patient.mr, patient.ct, patient.mask, methods)
