"""Read the mask that a user gives for an MR, either an image or contours."""

from pathlib import Path

from sde_ct.data.sources.body_contour import body_contour
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.rtstruct import is_structure_set
from sde_ct.volumes.files import read_mask
from sde_ct.volumes.volume import Volume


def mask_of(path: Path, mr: Volume, frame: str) -> tuple[Volume, tuple[str, ...]]:
    """The mask in a file, and warnings about its contours.

    Args:
      path: a mask that `read_mask` reads, or an RTSTRUCT with an outline of the body (see
        `body_contour`).
      mr: the volume on whose grid contours become a mask.
      frame: the frame of reference of `mr`; empty if it is unknown.

    Raises:
      InputError: the mask cannot be used, or the RTSTRUCT holds no outline of the body on the MR.
    """
    if not path.is_file() or not is_structure_set(path):
        return read_mask(path), ()
    outline = body_contour([path], mr, frame)
    if outline.mask is None:
        why = "; ".join(outline.warnings) or "no structure is of type EXTERNAL or called BODY"
        raise InputError(f"{path} outlines no body on the MR ({why}): give the MR's structure set")
    return outline.mask, tuple(f"{path.name}: {warning}" for warning in outline.warnings)
