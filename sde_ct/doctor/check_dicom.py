"""A folder of DICOM files: every fault in it, not only the first that a reader meets."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import UID

from sde_ct.doctor.finding import Finding, error, refused, warning
from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.grid import arrange
from sde_ct.volumes.dicom.patient_names import secrets_of
from sde_ct.volumes.dicom.series import slice_files
from sde_ct.volumes.dicom.slice import (
    Slice,
    is_beside,
    read_header,
    require_decoder,
    series_of,
    slice_of,
)


class Survey(NamedTuple):
    """What is in a folder of DICOM files."""

    series: dict[str, list[Slice]]  # the images that can be read, by SeriesInstanceUID
    findings: list[Finding]
    secrets: frozenset[str]  # what names the patient: never to be shown
    files: int
    whole: bool  # whether the images are one volume


def survey(folder: Path, wanted: Path | None = None) -> Survey:
    """Read every header below no other folder; voxels are left alone.

    `wanted`: a file whose series alone is looked at; every name in the folder is a secret all
    the same.
    """
    files = slice_files(folder)
    series: dict[str, list[Slice]] = defaultdict(list)
    said: dict[Finding, int] = defaultdict(int)
    secrets: set[str] = set()
    uid = _uid(wanted) if wanted else ""
    for file in files:
        try:
            header = read_header(file)
            with decoding(file):
                secrets |= secrets_of(header)
            if is_beside(header, file) or (uid and series_of(header, file) not in (uid, "")):
                continue
            image = slice_of(header, file)
            for finding in _tags(header, file):
                said[finding] += 1
        except InputError as problem:
            said[_anonymous(refused(problem), file)] += 1
            continue
        series[image.series].append(image)
    findings = [_counted(finding, count) for finding, count in said.items()]
    findings += _together(series, folder)
    whole = len(series) == 1 and not any(f.severity == "error" for f in findings)
    count = sum(map(len, series.values())) if wanted else len(files)
    return Survey(dict(series), findings, frozenset(secrets), count, whole)


def _uid(file: Path) -> str:
    try:
        return series_of(read_header(file), file)
    except InputError:
        return ""


def _tags(header: Dataset, file: Path) -> list[Finding]:
    """What a header says of its voxels, which are not read here."""
    found = []
    syntax = UID(header.file_meta.get("TransferSyntaxUID", ""))
    try:
        require_decoder(syntax, file)
    except InputError as problem:
        found.append(_anonymous(refused(problem), file))
    if str(header.get("LossyImageCompression", "")) == "01":
        found.append(warning("images were compressed with loss", "export the scanner's own images"))
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        found.append(
            warning(
                "text is burnt into the pixels (BurnedInAnnotation), the patient's name perhaps",
                "export without annotations; do not pass these on",
            )
        )
    return found


def _together(series: dict[str, list[Slice]], folder: Path) -> list[Finding]:
    images = [image for some in series.values() for image in some]
    found = []
    if (patients := len({image.patient for image in images})) > 1:
        found.append(error(f"images of {patients} patients", "keep one patient a folder"))
    if len(series) > 1:
        sizes = ", ".join(f"{len(some)} {some[0].modality}" for some in series.values())
        found.append(
            error(
                f"{len(series)} series mixed in one folder ({sizes})",
                "name a file of the series wanted; --source=gold_atlas takes such folders",
            )
        )
    for some in series.values():
        try:
            arrange(some, folder)
        except InputError as problem:
            found.append(refused(problem))
    return found


def _anonymous(finding: Finding, file: Path) -> Finding:
    """The finding without its file, so that many files share one."""
    return finding._replace(what=finding.what.replace(f"{file} ", "").replace(str(file), "a file"))


def _counted(finding: Finding, count: int) -> Finding:
    return finding._replace(what=f"{count} file{'s' * (count > 1)}: {finding.what}")
