"""Which MR volumes a user names: files, DICOM series, folders of either, glob patterns."""

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.series import Series, open_series
from sde_ct.volumes.dicom.slice import may_be_dicom, read_header
from sde_ct.volumes.formats import image_stem


class Source(NamedTuple):
    """One volume to be read, and what its results are to be called."""

    path: Path
    name: str
    series: Series | None = None  # of DICOM files whose headers were read to group them


def find_sources(arguments: Sequence[str]) -> list[Source]:
    """The volumes that the arguments name, each once, in their order.

    An argument is a NIfTI or MetaImage file, a DICOM series (its folder or one of its files), a
    folder that holds such files or, itself or below it, folders of DICOM series, or a glob
    pattern of any of them. In a folder that has an `mr` file, as SynthRAD's, only that is taken;
    of the DICOM series below a folder only those of MR.

    Several files of one DICOM series in one folder are one volume. A file gives the name, its
    folder where the file is called `mr`; a DICOM series is named by its folders below the folder or
    the pattern's fixed part: `patient_series`.

    Raises:
      InputError: nothing is there, or two volumes have one name.
    """
    sources: dict[Path, Source] = {}
    for argument in arguments:
        for source in _expand(argument):
            sources.setdefault(source.path, source)
    found = _one_a_series(sources.values())
    by_name: dict[str, Path] = {}
    for path, name, _ in found:
        if name in by_name:
            raise InputError(
                f"{by_name[name]} and {path} would both be written as {name}: rename one, or give "
                "them one by one with another --output."
            )
        by_name[name] = path
    return found


def find_mask(masks: Path, source: Source) -> Path:
    """The mask of one volume: the file given, or the one of its name in a folder.

    Raises InputError where the folder holds none or several.
    """
    if not masks.is_dir() or any(_holds_dicom(p) for p in masks.iterdir()):
        return masks
    found = [p for p in masks.iterdir() if image_stem(p) and case_name(p) == source.name]
    if len(found) != 1:
        raise InputError(
            f"{masks} holds {len(found)} masks called {source.name}: give it one, such as "
            f"{source.name}.nii.gz."
        )
    return found[0]


def case_name(mr: Path) -> str:
    """The name of a volume's case: its file's, or its folder's in SynthRAD's layout."""
    mr = Path(os.path.abspath(mr))  # links keep the name that they were given
    stem = image_stem(mr) or mr.name
    return mr.parent.name if stem == "mr" else stem


def _expand(argument: str) -> Iterator[Source]:
    path = Path(os.path.abspath(argument))
    if path.exists():
        matches, base = [path], path
    elif glob.has_magic(argument):
        matches = [Path(os.path.abspath(match)) for match in glob.glob(argument, recursive=True)]
        base = _fixed_part(path)
        if not matches:
            raise InputError(f"{argument} matches no file or folder: check the pattern.")
    else:
        raise InputError(f"{argument} does not exist: check the path.")
    found = [p for match in sorted(matches) for p in _volumes(match, set())]
    if not found:
        raise InputError(f"{argument} holds no MR: give a NIfTI, a MetaImage or a DICOM folder.")
    for volume in found:
        yield Source(volume, _name(volume, path.parent if volume == path else base))


def _one_a_series(sources: Iterable[Source]) -> list[Source]:
    """Drop every DICOM file whose series an earlier file of its folder stands for.

    Where several files of a folder are named, the first one's series is opened, and kept. If that
    fails the first file stands for all: reading it later reports what is wrong.
    """
    kept: list[Source] = []
    named: dict[Path, list[Source]] = defaultdict(list)  # DICOM files by their folder
    for source in sources:
        if not image_stem(source.path) and _holds_dicom(source.path):
            named[source.path.parent].append(source)
    covered: set[Path] = set()
    for source in sources:
        if source.path in covered:
            continue
        if len(named[source.path.parent]) > 1 and not source.path.is_dir():
            try:
                series = open_series(source.path)
                source = source._replace(series=series)
                covered |= {image.file for image in series.slices}
            except InputError:
                covered |= {other.path for other in named[source.path.parent]}
        kept.append(source)
    return kept


def _name(volume: Path, base: Path) -> str:
    if image_stem(volume) and volume.is_file():
        return case_name(volume)
    folder = volume if volume.is_dir() else volume.parent
    return "_".join(folder.relative_to(base).parts) or folder.name


def _fixed_part(pattern: Path) -> Path:
    """The deepest folder above the first wildcard."""
    wild = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    return Path(*pattern.parts[:wild])


def _volumes(place: Path, seen: set[Path]) -> Iterator[Path]:
    """The volumes that a path is or holds; subfolders are searched where a folder holds none."""
    if not place.is_dir():
        yield place
        return
    if (real := place.resolve()) in seen:  # a link that leads back
        return
    seen.add(real)
    inside = sorted(p for p in place.iterdir() if not p.name.startswith("."))
    images = [p for p in inside if p.is_file() and image_stem(p)]
    named_mr = [p for p in images if image_stem(p) == "mr"]
    if images:
        yield from named_mr or images
    elif any(_holds_dicom(p) for p in inside):
        yield place
    else:
        below = [v for p in inside if p.is_dir() for v in _volumes(p, seen)]
        yield from (v for v in below if v.is_file() or _may_be_mr(v))


def _holds_dicom(file: Path) -> bool:
    return file.is_file() and file.name != "DICOMDIR" and may_be_dicom(file)


def _may_be_mr(folder: Path) -> bool:
    """Whether the first readable file of a series is of an MR; what cannot be read may be."""
    first = next(p for p in sorted(folder.iterdir()) if _holds_dicom(p))
    try:
        return str(read_header(first).get("Modality") or "MR") == "MR"
    except InputError:
        return True
