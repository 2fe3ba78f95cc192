"""The comparison as a page: `report.html`."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.table import Row
from sde_ct.lab.comparison.patients import Patient
from sde_ct.lab.comparison.synthesis import Results
from sde_ct.report.html.curves import read_curves
from sde_ct.report.html.views import PatientView, Picture, Report
from sde_ct.uncertainty import judgement
from sde_ct.uncertainty.intervals import caveat
from sde_ct.uncertainty.judgement import Judgements

# Pictures in the output folder: name -> title and what is seen.
PICTURES = {
    "comparison": (
        "Every method on one slice",
        "A slice of the MR, the real CT and every method's CT; below each its signed error.",
    ),
    "uncertainty": (
        "Spread and error",
        "Per sampler the spread of its draws, the error of their mean, and one against the other.",
    ),
    "reliability": (
        "Known probabilities",
        "Share of bone-like draws against the known probability of bone, per sampler.",
    ),
}


def report_of(
    results: Results,
    patients: Sequence[Patient],
    rows: Sequence[Row],
    judged: Judgements,
    output: Path,
    provenance: Mapping[str, Any],
) -> Report:
    """What the demo found; `output` holds its `runs/` and pictures, those that there are."""
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
    methods = {name: by_patient[patient.id] for name, by_patient in results.items()}
    return PatientView(patient.id, patient.mr, patient.ct, patient.mask, methods)
