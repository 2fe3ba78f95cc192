"""Read the structures of a patient from masks and RTSTRUCT files."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sde_ct.errors import InputError, first_of
from sde_ct.volumes.dicom.rtstruct import Roi, is_structure_set, rasterise, read_structures
from sde_ct.volumes.dicom.series import open_series
from sde_ct.volumes.dicom.slice import printable
from sde_ct.volumes.formats import format_of
from sde_ct.volumes.named import volumes_in
from sde_ct.volumes.on_grid import read_on_grid
from sde_ct.volumes.volume import Volume

BODY = "BODY"  # the name of the body mask
OUTLINES = (BODY, "EXTERNAL")  # names of ROIs that outline the body
LONGEST = 60  # most characters in the name of a file


class Contours(NamedTuple):
    """One ROI of an RTSTRUCT file."""

    file: Path
    roi: Roi

    def __str__(self) -> str:
        return f"{self.file}, ROI '{printable(self.roi.name)}'"


Structure = Path | Contours  # a mask file, or contours


def require_structures(folder: Path, cases: Sequence[str]) -> None:
    """Raise InputError unless --structures is a folder that has a folder of one of these cases."""
    if not folder.is_dir():
        raise InputError(
            f"--structures={folder} is not a folder: give one that holds, for each case, a "
            "folder of masks or RTSTRUCT files."
        )
    if not any((folder / case).is_dir() for case in cases):
        raise InputError(
            f"--structures={folder} holds no folder for {first_of(cases)}: put the masks or "
            f"RTSTRUCT files of each case into a folder of its name, such as {folder / cases[0]}."
        )


def find_structures(
    folder: Path, image: Path, frame: str | None = None
) -> tuple[dict[str, Structure], list[str]]:
    """The structures in a folder by name, and notes on omitted ones.

    A mask is named after its file. An ROI keeps its name, but with underscores for characters that
    file names may not have. Outlines of the body are omitted, because the body mask takes their
    place: a mask called `BODY`, and an ROI that is called `BODY` or `EXTERNAL` or has the type
    EXTERNAL (all in upper or lower case).

    Args:
        folder: masks and RTSTRUCT files.
        image: the file of the patient's image, for messages.
        frame: frame of reference of this image, empty if it is not DICOM; None reads it from the
            file if there are contours.

    Raises:
        InputError: there are no structures, a DICOM file is damaged, two structures have the same
            name, or contours lie in another frame of reference.
    """
    masks = volumes_in(folder) if folder.is_dir() else {}
    drawn = _contours_in(folder) if folder.is_dir() else []
    if not masks and not drawn:
        raise InputError(
            f"{folder} holds no structures: put a mask for each structure, or an RTSTRUCT file, "
            "there."
        )
    if frame is None:
        frame = frame_of(image) if drawn else ""
    structures: dict[str, Structure] = {}
    left_out = []
    for name, path in masks.items():
        if name.upper() == BODY:
            left_out.append(f"{path}, because the name {BODY} is reserved for the body mask")
        else:
            structures[name] = path
    taken = {name.casefold(): structure for name, structure in structures.items()}
    for one in drawn:
        if frame and one.roi.frame and one.roi.frame != frame:
            raise InputError(
                f"{one.file} is drawn in another frame of reference than {image}: give the "
                "structures of this image."
            )
        name = _file_name(one.roi.name)
        if one.roi.kind == "EXTERNAL" or name.upper() in OUTLINES:
            left_out.append(f"{one}, because the body mask takes the place of the outline")
        elif name.casefold() in taken:
            raise InputError(
                f"{one} and {taken[name.casefold()]} would both be called {name}: rename or "
                "remove one."
            )
        else:
            structures[name] = taken[name.casefold()] = one
    return structures, left_out


def read_masks(
    structures: Mapping[str, Structure], like: Volume, image: Path
) -> tuple[dict[str, Volume], list[str]]:
    """The masks of structures on the grid of `like`, and notes on ROIs that have no mask there.

    Raises InputError if a file cannot be used or lies on another grid.
    """
    masks, left_out = {}, []
    for name, structure in structures.items():
        if isinstance(structure, Path):
            masks[name] = read_on_grid(structure, "mask", like, image)
            continue
        try:
            masks[name] = rasterise(structure.roi.polygons, like)
        except InputError as error:
            left_out.append(f"{structure}, because {error}")
    return masks, left_out


def structures_on(
    folder: Path, like: Volume, image: Path, frame: str
) -> tuple[dict[str, Volume], list[str]]:
    """The masks of a folder's structures on the grid of `like`, and notes on omitted ones.

    Raises InputError as these two functions do, or if no structure has a voxel there.
    """
    found, notes = find_structures(folder, image, frame)
    masks, without = read_masks(found, like, image)
    empty = [name for name, mask in masks.items() if not mask.array.any()]
    notes += [*without, *(f"{folder}, structure {name}, because it is empty" for name in empty)]
    if not (masks := {name: mask for name, mask in masks.items() if name not in empty}):
        raise InputError(
            f"{folder} holds no structure that lies in {image} ({'; '.join(notes)}): give others."
        )
    return masks, notes


def _contours_in(folder: Path) -> list[Contours]:
    """The ROIs of all RTSTRUCT files in a folder. Other DICOM files are ignored."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return [
        Contours(file, roi)
        for file in files
        if is_structure_set(file)
        for roi in read_structures(file)
    ]


def frame_of(reference: Path) -> str:
    """The frame of reference of an image; empty if its format has none."""
    return open_series(reference).slices[0].frame if format_of(reference) == "DICOM" else ""


def _file_name(name: str) -> str:
    """An ROI's name with an underscore for each run of characters that file names may not have."""
    return re.sub(r"[^\w.+()%-]+", "_", name.strip())[:LONGEST].strip(".") or "unnamed"
