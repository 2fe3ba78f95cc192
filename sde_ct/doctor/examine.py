"""A single volume, NIfTI, MetaImage or DICOM, and its report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.doctor import series, voxels
from sde_ct.doctor.finding import Finding, error, refused
from sde_ct.doctor.hounsfield import check_ct
from sde_ct.doctor.place import nifti_header, place
from sde_ct.doctor.report import Report, at
from sde_ct.errors import InputError
from sde_ct.volumes.files import format_of, read_any
from sde_ct.volumes.volume import Volume

CHECKS = {"MR": voxels.check_mr, "CT": check_ct, "mask": voxels.check_mask}
NAMED = "the tags name the patient; of what is written only DICOM takes the name over"


class Examined(NamedTuple):
    """The report on a volume, and the volume where it can be read."""

    report: Report
    volume: Volume | None = None
    kind: voxels.Kind | None = None


def examine(path: Path, kind: voxels.Kind | None = None) -> Examined:
    """A NIfTI or MetaImage file, or a DICOM folder or file.

    `kind`: what it is known to be; None finds it by tag, name or voxels.
    """
    if format_of(path) == "DICOM":
        return _dicom(path, kind)
    read = attempt(lambda: read_any(path))
    if isinstance(read, Finding):
        return Examined(Report(f"{path.name}: a file that cannot be used", found=at("", [read])))
    kind = kind or voxels.kind_of(path.name, read)
    findings = [*place(read), *CHECKS[kind](read)]
    if format_of(path) == "NIfTI":
        findings += nifti_header(path)
    title = f"{path.name}: {kind}, {format_of(path)}"
    return Examined(Report(title, (line(read, kind),), at("", findings)), read, kind)


def _dicom(path: Path, kind: voxels.Kind | None) -> Examined:
    seen = series.survey(path) if path.is_dir() else series.survey(path.parent, path)
    findings = list(seen.findings)
    modalities = sorted({some[0].modality for some in seen.series.values()})
    title = f"{path.name}: DICOM, {seen.files} files, {' and '.join(modalities) or 'no image'}"
    facts = (NAMED,) if seen.secrets else ()
    if not seen.series and not findings:
        findings.append(error("no DICOM image", "give the folder of one series"))
    report = Report(title, facts, at("", findings), secrets=seen.secrets)
    if path.is_dir() and not seen.whole:
        return Examined(report)
    read = attempt(lambda: read_any(path))
    if isinstance(read, Finding):
        return Examined(report._replace(found=at("", [*findings, read])))
    if kind is None:
        kind = modalities[0] if modalities[0] in ("MR", "CT") else voxels.kind_of("", read)
    findings += [*place(read), *CHECKS[kind](read)]
    facts = (line(read, kind), *facts)
    return Examined(report._replace(facts=facts, found=at("", findings)), read, kind)


def line(of: Volume, kind: str) -> str:
    """Size, spacing and range of a volume."""
    shape = " x ".join(map(str, of.array.shape))
    spacing = " x ".join(f"{s:.3g}" for s in of.spacing)
    low, high = float(of.array.min()), float(of.array.max())
    return f"{shape} voxels of {spacing} mm, values {low:.4g} to {high:.4g}"


def attempt(read: Callable[[], Any]) -> Any:
    """What was read, or the finding that it cannot be."""
    try:
        return read()
    except InputError as problem:
        return refused(problem)
