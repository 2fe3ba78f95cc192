"""The report of an evaluation of files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sde_ct.evaluation.findings import findings
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.evaluation.protocols import Protocol, constants
from sde_ct.evaluation.table import Row
from sde_ct.report.html.patients_from_files import choice, patients_of
from sde_ct.report.html.range_pictures import pictures
from sde_ct.report.html.report_content import Report
from sde_ct.storage.versions import versions
from sde_ct.uncertainty.judgement import Judgements
from sde_ct.volumes.volume import Volume


def report_of(
    protocol: Protocol,
    rows: Sequence[Row],
    files: Mapping[str, Sequence[CaseFiles]],
    judged: Judgements,
    settings: Mapping[str, Any],
    warnings: Sequence[str],
    target_of: Callable[[CaseFiles, Volume], Volume],
) -> Report:
    """The report of these rows, from each method's `files` and the ray targets of `target_of`."""
    patients = patients_of(rows, files)
    return Report(
        title=f"Synthetic CTs, protocol {protocol.name}",
        rows=rows,
        findings=findings(rows),
        patients=patients,
        choice=choice(patients, len({row.patient for row in rows})),
        judgements=judged,
        figures=pictures(judged, files, patients, target_of),
        provenance={"Protocol": constants(protocol), "Settings": settings, "Versions": versions()},
        warnings=warnings,
    )
