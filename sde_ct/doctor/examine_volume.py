"""A single volume, NIfTI, MetaImage or DICOM, and its report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sde_ct.doctor import check_dicom, check_intensities
from sde_ct.doctor.check_geometry import place
from sde_ct.doctor.check_intensities import check_ct
from sde_ct.doctor.finding import Finding, error, refused
from sde_ct.doctor.screen import Report, at
from sde_ct.errors import InputError
from sde_ct.volumes.files import read_any
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.volume import Volume

CHECKS = {"MR": check_intensities.check_mr, "CT": check_ct, "mask": check_intensities.check_mask}
NAMED = "the tags name the patient; of what is written only DICOM takes the name over"


class Examined(NamedTuple):
    """The report on a volume, and the volume where it can be read."""

    report: Report
    volume: Volume | None = None
    kind: check_intensities.Kind | None = None


def examine(path: Path, kind: check_intensities.Kind | None = None) -> Examined:
    """A NIfTI or MetaImage file, or a DICOM folder or file.

    `kind`: what it is known to be; None finds it by tag, name or check_intensities.
    """
    if format_of(path) == "DICOM":
        return _dicom(path, kind)
    read = attempt(lambda: read_any(path))
    if isinstance(read, Finding):
        return Examined(Report(f"{path.name}: a file that cannot be used", found=at("", [read])))
    kind = kind or check_intensities.kind_of(path.name, read)
    findings = [*place(read), *CHECKS[kind](read)]
    title = f"{path.name}: {kind}, {format_of(path)}"
    return Examined(Report(title, (line(read, kind),), at("", findings)), read, kind)


def _dicom(path: Path, kind: check_intensities.Kind | None) -> Examined:
    seen = check_dicom.survey(path) if path.is_dir() else check_dicom.survey(path.parent, path)
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
        kind = (
            modalities[0] if modalities[0] in ("MR", "CT") else check_intensities.kind_of("", read)
        )
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
