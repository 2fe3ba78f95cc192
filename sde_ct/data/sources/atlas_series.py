"""Find the T2, T1 and CT series in a patient's folder of DICOM files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from sde_ct.data.acquisition import weighting_of
from sde_ct.errors import InputError
from sde_ct.storage.folders import folders
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.frames import framed
from sde_ct.volumes.dicom.grid import arrange
from sde_ct.volumes.dicom.grouping import by_series, doubts
from sde_ct.volumes.dicom.patient_names import secrets_of
from sde_ct.volumes.dicom.series import Series, slice_files
from sde_ct.volumes.dicom.slice import Slice, is_beside, read_header
from sde_ct.volumes.dicom.write import MANUFACTURER
from sde_ct.volumes.volume import corners_apart

SAME = 0.01  # voxels; largest distance between the corners of two equal grids
DEFORMED = re.compile(r"deform|warp|\bdir\b|to[ _]?mr|on[ _]?mr", re.IGNORECASE)
# CTs that a program made from an MR. They share the MR's frame of reference, as a deformed CT does.
SYNTHETIC = re.compile(r"(synthetic|pseudo|substitute)[ _-]?ct|\bsct\b|mrcat", re.IGNORECASE)
SYNTHETIC_CT = "synthetic CT"  # counted among the other files


class Image(NamedTuple):
    """One series of images. If they form no volume, `series` is None and `broken` says why."""

    slices: tuple[Slice, ...]
    series: Series | None
    broken: str
    echo_time: float | None  # ms
    repetition_time: float | None
    sequence: frozenset[str]  # ScanningSequence

    @property
    def modality(self) -> str:
        return self.slices[0].modality

    @property
    def warnings(self) -> tuple[str, ...]:
        assumed = self.series.warnings if self.series else ()
        return tuple(f"{self.modality}: {warning}" for warning in assumed)

    @property
    def text(self) -> str:
        """The series in words."""
        return f"{self.slices[0].description!r} ({self.modality}, {len(self.slices)} slices)"


class Found(NamedTuple):
    """The contents of a folder."""

    images: tuple[Image, ...]
    structures: tuple[Path, ...]  # RTSTRUCT files
    others: dict[str, int]  # number of files of each modality, and of `SYNTHETIC_CT`
    unreadable: tuple[str, ...]  # a sentence per file
    secrets: frozenset[str]  # the patient's names and IDs, which no report may hold


def scan(folder: Path) -> Found:
    """Scan a folder and its subfolders. Raises InputError if they hold several patients."""
    slices: list[Slice] = []
    headers: dict[str, Dataset] = {}  # the first header of each series
    structures, unreadable = [], []
    others: Counter[str] = Counter()
    secrets: set[str] = set()
    try:
        files = [file for place in folders(folder) for file in slice_files(place)]
    except PermissionError as error:
        raise InputError(f"{error.filename} cannot be read: check its permissions") from error
    for file in files:
        try:
            header = read_header(file)
            with decoding(file):
                secrets |= secrets_of(header)
                modality = str(header.get("Modality") or "unknown")
                if modality == "CT" and _is_synthetic(header):
                    others[SYNTHETIC_CT] += 1
                    continue
            if not is_beside(header, file):
                for image, described in framed(header, file):
                    slices.append(image)
                    headers.setdefault(image.series, described)
                continue
        except InputError as error:
            unreadable.append(str(error))
            continue
        others[modality] += 1
        if modality == "RTSTRUCT":
            structures.append(file)
    if len({image.patient for image in slices}) > 1:
        raise InputError(f"{folder} holds images of several patients: keep one patient per folder")
    images = tuple(_image(some, headers[some[0].series], folder) for some in by_series(slices))
    return Found(images, tuple(structures), dict(others), tuple(unreadable), frozenset(secrets))


def _is_synthetic(header: Dataset) -> bool:
    """Whether the maker or description of a CT says that it was made from an MR."""
    return str(header.get("Manufacturer")) == MANUFACTURER or bool(
        SYNTHETIC.search(str(header.get("SeriesDescription") or ""))
    )


def _image(slices: Sequence[Slice], header: Dataset, folder: Path) -> Image:
    with decoding(slices[0].file):
        times = [header.get(keyword) for keyword in ("EchoTime", "RepetitionTime")]
        te, tr = (None if value in (None, "") else float(value) for value in times)
        kinds = np.atleast_1d(header.get("ScanningSequence") or ())
    try:
        series = Series(folder, *arrange(slices, folder), header, doubts(slices))
        broken = ""
    except InputError as error:
        series, broken = None, str(error)
    return Image(tuple(slices), series, broken, te, tr, frozenset(map(str, kinds)))


def weighting(image: Image) -> tuple[str, str]:
    """T1, T2 or "" (unknown), and the reason: the description or else TE and TR."""
    description = image.slices[0].description.casefold()
    named = [w for w in ("T1", "T2") if re.search(rf"(?<![a-z0-9]){w.lower()}", description)]
    if len(named) == 1:
        return named[0], f"its description names {named[0]}"
    te, tr = image.echo_time, image.repetition_time
    if te is None or tr is None:
        return "", ""
    return weighting_of(te, tr, image.sequence), f"TE {te:g} ms and TR {tr:g} ms"


def choose_mr(found: Found, wanted: str) -> tuple[Image, str]:
    """The T1 or T2 series and the reason for it. Raises InputError unless there is exactly one."""
    candidates = [i for i in found.images if i.modality == "MR"]
    matches = [image for image in candidates if weighting(image)[0] == wanted]
    if len(matches) != 1:
        listed = ", ".join(image.text for image in matches or candidates) or "none"
        remedy = "keep one in the folder" if matches else "export one into the folder too"
        raise InputError(
            f"{len(matches)} of its MR series are {wanted}-weighted ({listed}): {remedy}"
        )
    return matches[0], f"{matches[0].text}: {weighting(matches[0])[1]}"


def choose_ct(found: Found, mr: Image) -> tuple[Image, str, bool]:
    """The CT to use, the reason for it, and whether it counts as deformed onto the MR.

    A CT in the MR's frame of reference counts as deformed. If there are several, the only one
    on the MR's grid is chosen, or else the only one whose description says that it is deformed. If
    there is none, the native CT is chosen, provided that there is only one.

    Raises InputError if there is no CT or the choice is unclear.
    """
    cts = [image for image in found.images if image.modality == "CT"]
    here = [i for i in cts if mr.slices[0].frame and i.slices[0].frame == mr.slices[0].frame]
    on_grid = [image for image in here if shift_of(image, mr) is not None]
    named = [image for image in on_grid or here if DEFORMED.search(image.slices[0].description)]
    for group in (on_grid, named, here):
        if len(group) == 1:
            where = "on the MR's grid" if group[0] in on_grid else "on another grid than the MR"
            says = ", its description says deformed" if group[0] in named else ""
            return group[0], f"{group[0].text}: in the MR's frame of reference, {where}{says}", True
    if not here and len(cts) == 1:
        return (
            cts[0],
            f"{cts[0].text}: the native CT, because no CT lies in the MR's frame of reference",
            False,
        )
    if not cts:
        but = ", only a synthetic one" if found.others.get(SYNTHETIC_CT) else ""
        raise InputError(
            f"its folder holds no CT{but}: export the patient's CT into the folder too"
        )
    listed = ", ".join(image.text for image in here or cts)
    raise InputError(f"it is unclear which CT belongs to the MR ({listed}): keep one in the folder")


def shift_of(image: Image, mr: Image) -> int | None:
    """The index in `image` of the position of `mr`'s first slice; None if the grids differ."""
    if image.series is None or mr.series is None or image.series.shape[:2] != mr.series.shape[:2]:
        return None
    to_index = np.linalg.inv(image.series.affine) @ mr.series.affine
    shift = round(float(to_index[2, 3]))
    expected = np.eye(4)
    expected[2, 3] = shift
    return shift if corners_apart(to_index, expected, mr.series.shape) <= SAME else None


def describe(image: Image, role: str) -> dict[str, Any]:
    """What the report says about a series."""
    first = image.slices[0]
    facts = {
        "role": role,
        "modality": image.modality,
        "description": first.description,
        "slices": len(image.slices),
        "pixels": list(first.size),
        "pixel_mm": [round(float(v), 4) for v in first.spacing],
    }
    if image.series is None:
        return facts | {"unusable": image.broken}
    step = float(np.linalg.norm(image.series.affine[:3, 2]))
    return facts | {"slice_mm": round(step, 4)}
