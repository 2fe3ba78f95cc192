"""Read the target of a plan, from a mask or from the contours of an RTSTRUCT file."""

from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.volumes.dicom.rtstruct import Roi, is_structure_set, rasterise, read_structures
from sde_ct.volumes.dicom.slice import printable
from sde_ct.volumes.on_grid import read_on_grid
from sde_ct.volumes.volume import Volume


def read_target(given: str, like: Volume, image: str, frame: str = "") -> Volume:
    """The target as a mask on the grid of `like`, in its order of voxels.

    Args:
      given: path of a mask or an RTSTRUCT file, followed by `:ROI` if the file holds several ROIs.
      like: the image in which the target lies.
      image: what errors call that image.
      frame: frame of reference of that image; empty if it is not DICOM.

    Raises:
      InputError: the file cannot be used, has no such ROI or another frame of reference, lies on
        another grid, or marks no voxel or every voxel.
    """
    path, roi = _parts(given)
    if is_structure_set(path):
        target = _contoured(path, roi, like, image, frame)
    elif roi:
        raise InputError(f"{path} is not an RTSTRUCT and has no ROI '{roi}': leave out ':{roi}'.")
    else:
        target = read_on_grid(path, "mask", like, image)
    if not target.array.any():
        raise InputError(f"The target {path} is empty: mark the target with values above 0.")
    if target.array.all():
        raise InputError(f"The target {path} marks every voxel: mark the target alone.")
    return target


def _parts(given: str) -> tuple[Path, str]:
    """The path and the ROI, which is empty if there is none; both may hold colons."""
    pieces = given.split(":")
    for count in range(len(pieces), 0, -1):
        path = Path(":".join(pieces[:count]))
        if path.is_file():
            return path, ":".join(pieces[count:])
    what = "is a folder" if Path(given).is_dir() else "does not exist"
    raise InputError(f"The target {given} {what}: give a mask, or an RTSTRUCT file and ':ROI'.")


def _contoured(path: Path, name: str, like: Volume, image: str, frame: str) -> Volume:
    roi = _chosen(path, name)
    if roi.frame and frame and roi.frame != frame:
        raise InputError(
            f"{path} is drawn in another frame of reference than {image}: give the structures of "
            "this image."
        )
    try:
        return rasterise(roi.polygons, like)
    except InputError as error:
        raise InputError(
            f"ROI '{printable(roi.name)}' of {path} is not a target in {image}: {error}."
        ) from error


def _chosen(path: Path, name: str) -> Roi:
    """The ROI of this name, or the only one if the name is empty."""
    rois = read_structures(path)
    chosen = [roi for roi in rois if roi.name == name] if name else rois
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"'{printable(roi.name)}'" for roi in rois) or "none with closed contours"
    what = f"{len(chosen)} ROIs '{printable(name)}'" if name else f"{len(rois)} ROIs"
    raise InputError(f"{path} holds {what}: give the target as {path}:ROI. Its ROIs: {names}.")
