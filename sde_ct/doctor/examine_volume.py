"""The report on a single volume: NIfTI, MetaImage or DICOM."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from sde_ct.doctor.check_dicom import survey
from sde_ct.doctor.check_geometry import check_geometry, millimetres
from sde_ct.doctor.check_intensities import check_intensities, kind_of
from sde_ct.doctor.finding import Finding, Report, error, refused
from sde_ct.errors import InputError
from sde_ct.volumes.files import read_any
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.volume import Volume, canonical

NAMED = "the tags name the patient; this package writes the name into DICOM outputs only"
T = TypeVar("T")


class Examined(NamedTuple):
    """The report on a volume and, if it can be read, the volume and its kind (MR, CT or mask)."""

    report: Report
    volume: Volume | None = None
    kind: str | None = None


def examine(path: Path, kind: str | None = None) -> Examined:
    """Examine an image file, or the series of a DICOM folder or file.

    `kind` is MR, CT or mask. If it is None, the tags, the file's name or the voxels decide.
    """
    is_dicom = format_of(path) == "DICOM"
    if is_dicom:
        report, modality = _dicom(path)
        if path.is_dir() and modality is None:
            return Examined(report)
        kind = kind or (modality if modality in ("MR", "CT") else None)
    else:
        report = Report(f"{path.name}: a file that cannot be used")
    volume = attempt(lambda: read_any(path))
    if isinstance(volume, Finding):
        # The check of the headers has already reported why a series cannot be read.
        if all(finding.severity != "error" for finding in report.findings):
            report = report._replace(findings=(*report.findings, volume))
        return Examined(report)
    kind = kind or kind_of("" if is_dicom else path.name, volume)
    low, high = float(volume.array.min()), float(volume.array.max())
    shape = " x ".join(map(str, volume.array.shape))
    size = f"{shape} voxels of {millimetres(volume.spacing)}, values {low:.4g} to {high:.4g}"
    report = report._replace(
        title=report.title if is_dicom else f"{path.name}: {kind}, {format_of(path)}",
        facts=(size, *report.facts),
        findings=(*report.findings, *check_volume(volume, kind)),
    )
    return Examined(report, volume, kind)


def check_volume(volume: Volume, kind: str) -> list[Finding]:
    """Report faults in the geometry and the voxels of an MR, CT or mask (`kind`)."""
    return [*check_geometry(volume), *check_intensities(volume, kind)]


def axial_slices(volume: Volume) -> int:
    """The number of axial slices, whatever the order of the volume's axes."""
    return canonical(volume).array.shape[2]


def _dicom(path: Path) -> tuple[Report, str | None]:
    """The report on DICOM headers, and the modality.

    The modality is None if no image is readable, or if a folder is not one sound volume.
    """
    folder = survey(path)
    modalities = sorted({images[0].modality for images in folder.series.values()})
    findings = folder.findings
    if not folder.series and not findings:
        findings = [error("no DICOM image", "give the folder of one series")]
    files = f"{folder.files} file{'s' * (folder.files != 1)}"
    report = Report(
        f"{path.name}: DICOM, {files}, {' and '.join(folder.modalities) or 'no image'}",
        facts=(NAMED,) if folder.secrets else (),
        findings=tuple(findings),
        secrets=folder.secrets,
    )
    return report, modalities[0] if modalities and (path.is_file() or folder.is_volume) else None


def attempt(read: Callable[[], T]) -> T | Finding:
    """The result of `read`, or its InputError as a finding."""
    try:
        return read()
    except InputError as problem:
        return refused(problem)
