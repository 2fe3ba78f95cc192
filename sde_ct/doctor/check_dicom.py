"""Checks of a folder of DICOM files. They report on every faulty file, not only on the first."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import UID

from sde_ct.doctor.finding import Finding, error, refused, warning
from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.frames import slices_of
from sde_ct.volumes.dicom.grid import arrange
from sde_ct.volumes.dicom.grouping import LISTED, by_series, doubts
from sde_ct.volumes.dicom.patient_names import secrets_of
from sde_ct.volumes.dicom.series import belonging, require_decoder, slice_files
from sde_ct.volumes.dicom.slice import Slice, is_beside, read_header


class Survey(NamedTuple):
    """The contents of a folder of DICOM files."""

    series: dict[str, list[Slice]]  # readable images, by SeriesInstanceUID of the series' first one
    findings: list[Finding]
    secrets: frozenset[str]  # words that name the patient, and IDs, which are never shown
    files: int  # number of files in the folder, or in the file's series
    modalities: list[str]  # of the images among these files, even of images that cannot be used

    @property
    def is_volume(self) -> bool:
        """Whether the images are one sound volume."""
        return len(self.series) == 1 and all(f.severity != "error" for f in self.findings)


def survey(path: Path) -> Survey:
    """Survey a folder, or the series of one file, from the headers alone.

    Names in the other series of the file's folder are secrets too.
    """
    folder = path if path.is_dir() else path.parent
    images: list[Slice] = []
    counts: Counter[Finding] = Counter()
    modalities: list[str] = []  # one per file
    headers: dict[Path, Dataset] = {}
    secrets: set[str] = set()
    files = slice_files(folder)
    for file in files:
        try:
            header = read_header(file)
            with decoding(file):
                secrets |= secrets_of(header)
            if not is_beside(header, file):
                headers[file] = header
        except InputError as problem:
            counts[_anonymous(problem, file)] += 1
    for file in headers if path == folder else belonging(headers, path):
        try:
            with decoding(file):
                modalities.append(str(headers[file].get("Modality") or ""))
            images += slices_of(headers[file], file)
            counts.update(_tags(headers[file], file))
        except InputError as problem:
            counts[_anonymous(problem, file)] += 1
    series = {some[0].series: some for some in by_series(images)}
    findings = [
        finding._replace(what=f"{count} file{'s' * (count > 1)}: {finding.what}")
        for finding, count in counts.items()
    ]
    findings += _together(series, folder)
    number = len(files) if path == folder else len(modalities)
    kinds = sorted({*modalities} - {""})
    return Survey(series, findings, frozenset(secrets), number, kinds)


def _tags(header: Dataset, file: Path) -> Iterator[Finding]:
    """Report compression that cannot be decoded, compression with loss, and burnt-in text."""
    try:
        require_decoder(UID(header.file_meta.get("TransferSyntaxUID", "")), file)
    except InputError as problem:
        yield _anonymous(problem, file)
    if str(header.get("LossyImageCompression", "")) == "01":
        yield warning("images were compressed with loss", "export the scanner's own images")
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        yield warning(
            "text is burnt into the pixels (BurnedInAnnotation), perhaps the patient's name",
            "export the images without annotations, and do not pass these on",
        )


def _together(series: dict[str, list[Slice]], folder: Path) -> Iterator[Finding]:
    """Report faults that show only when the images are compared with each other."""
    patients = {image.patient for images in series.values() for image in images}
    if len(patients) > 1:
        yield error(f"images of {len(patients)} patients", "keep one patient per folder")
    if len(series) > 1:
        sizes = ", ".join(
            f"{len(some)} {some[0].modality}" for some in list(series.values())[:LISTED]
        )
        sizes += ", …" * (len(series) > LISTED)
        yield error(
            f"{len(series)} series mixed in one folder ({sizes})",
            "give one file of the series that you want; --source=gold_atlas accepts such folders",
        )
    for images in series.values():
        try:
            arrange(images, folder)
        except InputError as problem:
            yield refused(problem)
        else:
            for doubt in doubts(images):
                what, _, fix = doubt.rpartition(": ")
                yield warning(what, fix)


def _anonymous(problem: InputError, file: Path) -> Finding:
    """The finding for an error, without the file's name, so that many files share one finding."""
    finding = refused(problem)
    return finding._replace(what=finding.what.replace(f"{file} ", "").replace(str(file), "a file"))
