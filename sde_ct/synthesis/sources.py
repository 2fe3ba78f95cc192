"""Find the MR volumes that a user names by files, DICOM series, folders or glob patterns."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sde_ct.errors import InputError, first_of
from sde_ct.volumes.dicom.choice import Choice
from sde_ct.volumes.dicom.series import Series, open_series
from sde_ct.volumes.dicom.slice import may_be_dicom, read_header
from sde_ct.volumes.formats import image_stem


class Source(NamedTuple):
    """One volume to be read, and the name of its results."""

    path: Path
    name: str
    series: Series | None = None  # series of a DICOM file, whose headers were read to group files
    further: tuple[Path, ...] = ()  # the other MR contrasts of the same patient


def find_sources(arguments: Sequence[str], choices: Sequence[Choice] = ()) -> list[Source]:
    """The volumes that the arguments name, in the order of the arguments and without repeats.

    An argument is an image file (NIfTI or MetaImage), a DICOM series (its folder or one of its
    files), a folder, or a glob pattern of any of them. A folder with image files gives all of these
    files, or only the `mr` file if there is one, as in SynthRAD. A folder of DICOM files is one
    volume. Any other folder gives the volumes in its subfolders, without DICOM series that are not
    MR.

    A volume is named after its file, or after its folder if the file is called `mr`. A DICOM series
    is named after its folders below the given folder or the fixed part of the pattern, as in
    `patient_series`. If a series holds several volumes, `choices` selects one.

    Raises:
      InputError: an argument matches nothing or holds no MR, or two volumes have the same name.
    """
    by_name: dict[str, Source] = {}
    for source in volumes_of(arguments, choices):
        if (other := by_name.setdefault(source.name, source)) is not source:
            raise InputError(
                f"{other.path} and {source.path} would both be written as {source.name}: rename "
                "one, or give them one by one with another --output."
            )
    return list(by_name.values())


def volumes_of(arguments: Sequence[str], choices: Sequence[Choice] = ()) -> list[Source]:
    """As `find_sources`, but several volumes may have the same name."""
    sources: dict[Path, Source] = {}
    for argument in arguments:
        for source in _expand(argument):
            sources.setdefault(source.path, source)
    return _one_per_series(list(sources.values()), choices)


def require_outside(arguments: Sequence[str], output: Path) -> None:
    """Raise InputError if the output lies in a folder of MRs, where the next run would read it.

    The folder of a DICOM file counts too, because a series is read from its whole folder.
    """
    above = {output.resolve(), *output.resolve().parents}
    for argument in filter(None, arguments):
        for found in map(Path, (argument, *glob.glob(argument, recursive=True))):
            place = found.parent if not image_stem(found) and _is_slice(found) else found
            if place.is_dir() and place.resolve() in above:
                raise InputError(
                    f"--output={output} lies in {place}, whose files are read as MRs: give an "
                    "output outside of the patients' folders."
                )


def require_masks(masks: Path, names: Sequence[str]) -> None:
    """Raise InputError if --mask can't hold the masks of the volumes of these names.

    It can't if it does not exist, is one mask for several volumes, or is a folder without a mask of
    any volume.
    """
    if not masks.exists():
        raise InputError(
            f"--mask={masks} does not exist: give a mask, an RTSTRUCT file, or a folder of masks."
        )
    if not masks.is_dir():
        if len(names) > 1:
            raise InputError(
                f"--mask={masks} is one mask for {len(names)} MRs: give a folder with one for each."
            )
    elif not _is_series(masks) and not set(names) & {case_name(p) for p in _images_in(masks)}:
        raise InputError(
            f"--mask={masks} holds no mask for {first_of(names)}: name each mask after its MR, "
            f"such as {names[0]}.nii.gz."
        )


def find_mask(masks: Path, source: Source) -> Path:
    """The mask of one volume: the given file or series, or the file with the volume's name.

    Raises InputError if the folder `masks` does not hold exactly one file of that name.
    """
    if not masks.is_dir() or _is_series(masks):
        return masks
    named = [path for path in _images_in(masks) if case_name(path) == source.name]
    if len(named) != 1:
        raise InputError(
            f"{masks} holds {len(named)} masks called {source.name}: it must hold one, such as "
            f"{source.name}.nii.gz."
        )
    return named[0]


def case_name(mr: Path) -> str:
    """The case of an image file: the file's name, or its folder's name in SynthRAD's layout."""
    mr = Path(os.path.abspath(mr))  # unlike `resolve`, `abspath` keeps the names of links
    stem = image_stem(mr) or mr.name
    return mr.parent.name if stem == "mr" else stem


def _expand(argument: str) -> Iterator[Source]:
    if not argument:
        raise InputError("--mr is empty: give a file, a folder or a pattern.")
    path = Path(os.path.abspath(argument))
    if path.exists():
        matches, base = [path], path
    elif glob.has_magic(argument):
        matches = [Path(os.path.abspath(match)) for match in glob.glob(argument, recursive=True)]
        if not matches:
            raise InputError(f"{argument} matches no file or folder: check the pattern.")
        fixed = next(i for i, part in enumerate(path.parts) if glob.has_magic(part))
        base = Path(*path.parts[:fixed])
    else:
        raise InputError(f"{argument} does not exist: check the path.")
    volumes = [volume for match in sorted(matches) for volume in _volumes(match, set())]
    if not volumes:
        raise InputError(
            f"{argument} holds no MR in a file or folder of its own: give a NIfTI, a MetaImage, a "
            "DICOM folder of one patient, or one file of an MR series."
        )
    for volume in volumes:
        yield Source(volume, _name(volume, path.parent if volume == path else base))


def _volumes(place: Path, visited: set[Path]) -> list[Path]:
    """The volume at a path, or the volumes in a folder."""
    if not place.is_dir():
        return [place]
    if (real := place.resolve()) in visited:  # a link that leads to a folder above
        return []
    visited.add(real)
    inside = sorted(p for p in place.iterdir() if not p.name.startswith("."))
    images = [p for p in inside if p.is_file() and image_stem(p)]
    if images:
        return [p for p in images if image_stem(p) == "mr"] or images
    if any(_is_slice(p) for p in inside):
        return [place]
    below = [v for p in inside if p.is_dir() for v in _volumes(p, visited)]
    return [v for v in below if v.is_file() or _may_be_mr(v)]


def _name(volume: Path, base: Path) -> str:
    if image_stem(volume) and volume.is_file():
        return case_name(volume)
    folder = volume if volume.is_dir() else volume.parent
    return "_".join(folder.relative_to(base).parts) or folder.name


def _one_per_series(sources: Sequence[Source], choices: Sequence[Choice]) -> list[Source]:
    """Drop every DICOM file that belongs to the series of an earlier file."""
    kept, covered = [], set()
    for source in sources:
        path = source.path
        if path in covered:
            continue
        if not image_stem(path) and _is_slice(path):
            others = (s.path for s in sources if s.path.parent == path.parent)
            beside = {other for other in others if not image_stem(other)}
            try:
                series = open_series(path, choices)
                source = source._replace(series=series)
                # With choices, `series` may lack files of the same DICOM series.
                covered |= beside if choices else {image.file for image in series.slices}
            except InputError:  # the fault is reported later, when the first file is read
                covered |= beside
        kept.append(source)
    return kept


def _images_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if image_stem(path)]


def _is_series(folder: Path) -> bool:
    return any(_is_slice(path) for path in folder.iterdir())


def _is_slice(file: Path) -> bool:
    return file.is_file() and file.name != "DICOMDIR" and may_be_dicom(file)


def _may_be_mr(folder: Path) -> bool:
    """Whether the first slice in a folder is of an MR, names no modality, or cannot be read."""
    first = next(p for p in sorted(folder.iterdir()) if _is_slice(p))
    try:
        return str(read_header(first).get("Modality") or "MR") == "MR"
    except InputError:
        return True
