"""Find and read the target of a plan: a mask, or the contours of an RTSTRUCT file."""

from collections.abc import Sequence
from pathlib import Path

from sde_ct.errors import InputError, first_of
from sde_ct.volumes.dicom.rtstruct import Roi, is_structure_set, rasterise, read_structures
from sde_ct.volumes.dicom.slice import SUFFIXES, printable
from sde_ct.volumes.named import files_by_name, only
from sde_ct.volumes.on_grid import read_on_grid
from sde_ct.volumes.volume import Volume


def require_targets(given: str, cases: Sequence[str]) -> None:
    """Raise InputError if --target can't hold the targets of these cases.

    This is so if the path does not exist, is one target for several cases, or is a folder without a
    target of any of these cases.
    """
    if not path_of(given).is_dir():
        if len(cases) > 1:
            raise InputError(
                f"--target={given} is one target for {len(cases)} cases: give a folder with one "
                "for each."
            )
    elif not set(targets_in(given)) & set(cases):
        raise InputError(
            f"--target={given} holds no target for {first_of(cases)}: name each mask or RTSTRUCT "
            f"file after its case, such as {cases[0]}.nii.gz or {cases[0]}.dcm."
        )


def find_target(given: str, case: str, flag: str = "target") -> str:
    """The target of one case in a form that `read_target` reads.

    Args:
      given: a target in this form, or a folder of targets as in `targets_in`.
      case: the name of the case.
      flag: the flag that gave the target.

    Raises:
      InputError: the target does not exist, or the folder holds no target of this name or two
        files of one name.
    """
    if not path_of(given, flag).is_dir():
        return given
    if target := targets_in(given, flag).get(case):
        return target
    raise InputError(
        f"--{flag}={given} holds no target for {case}: name it {case}.nii.gz or {case}.dcm."
    )


def targets_in(given: str, flag: str = "target") -> dict[str, str]:
    """The targets in a folder by case, each in a form that `read_target` reads.

    `given` is a folder of masks and RTSTRUCT files that are named after their cases, followed by
    `:ROI` if its RTSTRUCT files hold several ROIs. Raises InputError if it is not a folder, or if
    two files have the same name.
    """
    folder, roi = _parts(given, flag)
    if not folder.is_dir():
        raise InputError(f"--{flag}={given} is not a folder: give the folder of the targets.")
    files = files_by_name(folder)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in SUFFIXES and path.name[0] != ".":
            files.setdefault(path.stem, []).append(path)
    end = f":{roi}" if roi else ""
    return {name: f"{only(paths, name)}{end}" for name, paths in files.items()}


def read_target(given: str, like: Volume, image: str, frame: str = "") -> Volume:
    """The target as a mask on the grid of `like`, with the voxels in the order of `like`.

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
    if path.is_dir():
        raise InputError(f"The target {given} is a folder: give a mask, or an RTSTRUCT file.")
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


def path_of(given: str, flag: str = "target") -> Path:
    """The file or folder of a target. Raises InputError if it does not exist."""
    return _parts(given, flag)[0]


def _parts(given: str, flag: str = "target") -> tuple[Path, str]:
    """The path and the ROI, which is empty if there is none; both may hold colons."""
    pieces = given.split(":")
    for count in range(len(pieces), 0, -1):
        name = ":".join(pieces[:count])
        if name and Path(name).exists():
            return Path(name), ":".join(pieces[count:])
    raise InputError(
        f"--{flag}={given} does not exist: give a mask, or an RTSTRUCT file and ':ROI', or a "
        "folder with one of them for each case."
    )


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
    if chosen and name:
        raise InputError(
            f"{path} holds {len(chosen)} ROIs '{printable(name)}': give each ROI a name of its own."
        )
    names = ", ".join(f"'{printable(roi.name)}'" for roi in rois) or "none with closed contours"
    what = f"{len(chosen)} ROIs '{printable(name)}'" if name else f"{len(rois)} ROIs"
    raise InputError(
        f"{path} holds {what}: end the target with ':' and the name of one of its ROIs: {names}."
    )
