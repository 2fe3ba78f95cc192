"""Place a series' slices in the patient, and refuse slices that do not form one volume."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Float

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.frames import EACH, SHARED
from sde_ct.volumes.dicom.grouping import frame_is_each_slices_own
from sde_ct.volumes.dicom.slice import SCALE, Slice, read_data
from sde_ct.volumes.lps import swap_lps_ras
from sde_ct.volumes.volume import GRID_TOLERANCE

# If coordinates are rounded to 0.1 mm, slices lie at most this far from a straight line (measured).
PLACE_MM = 0.12
TILT = 1e-3  # radians between mean step and normal; a smaller angle is rounding, not gantry tilt
LEAST_MM = 1e-3  # slices that are nearer to each other are in the same place


def arrange(
    slices: Sequence[Slice], folder: Path
) -> tuple[tuple[Slice, ...], Float[np.ndarray, "4 4"]]:
    """Order slices along their normal and place their voxels [column, row, slice] in the patient.

    The affine takes voxel indices to RAS mm. The first two columns of the affine follow the
    equation of DICOM PS3.3, C.7.6.2.1.1, and the third is the mean step from slice to slice.

    Raises:
      InputError: there are fewer than two slices; slices differ in frame of reference, size,
        spacing or orientation; two slices lie in the same place; a slice is missing; distances
        between slices differ; or the slices are not stacked along their normal (gantry tilt).
    """
    if len(slices) < 2:
        raise InputError(f"{folder} holds one slice of its series: give the whole series")
    first = slices[0]
    same_frame = not frame_is_each_slices_own(slices)
    for image in slices[1:]:
        _require_like(image, first, same_frame)
    normal = np.cross(*first.orientation)
    ordered = sorted(slices, key=lambda image: float(image.position @ normal))
    places = np.stack([image.position for image in ordered])
    gaps = np.diff(places @ normal)
    step = (places[-1] - places[0]) / len(gaps)
    _require_distinct(ordered, gaps, folder)
    up = float(step @ normal)
    sideways = np.linalg.norm(step - up * normal)
    tilt = np.arctan2(sideways, up)
    if tilt > TILT:
        if sideways * len(gaps) > 2 * PLACE_MM:
            raise InputError(
                f"{folder} was acquired with a gantry tilt of {np.degrees(tilt):.1f} degrees: "
                "resample the series onto perpendicular slices"
            )
        step = up * normal  # rounding of the first and last position explains the tilt
    _require_even(ordered, places, normal, folder)
    axes = np.column_stack([*(first.orientation * first.spacing[:, None]), step])
    return tuple(ordered), swap_lps_ras(nib.affines.from_matvec(axes, places[0]))


def _require_like(image: Slice, first: Slice, same_frame: bool) -> None:
    pair = f"{image.file} and {first.file.name}"
    if same_frame and image.frame != first.frame:
        raise InputError(f"{pair} lie in different frames of reference: keep one of them")
    if np.abs(image.orientation - first.orientation).max() > GRID_TOLERANCE:
        raise InputError(
            f"{pair} have different orientations: take localizers and other stacks out of the "
            "folder"
        )
    if image.size != first.size or np.abs(image.spacing - first.spacing).max() > GRID_TOLERANCE:
        raise InputError(f"{pair} differ in size or PixelSpacing: keep slices of one kind")


def _require_distinct(ordered: Sequence[Slice], gaps: np.ndarray, folder: Path) -> None:
    """Refuse slices in the same place. The error names two copies only if all are copies."""
    pairs = [pair for pair, gap in zip(pairwise(ordered), gaps, strict=True) if gap < LEAST_MM]
    if not pairs:
        return
    same = cache(_same_pixels)  # the frames of two files make many pairs
    copies = [a.sop == b.sop and same(a.file, b.file) for a, b in pairs]
    a, b = pairs[0] if all(copies) else pairs[copies.index(False)]
    why, fix = "lie in the same place", "keep one image at each position (one echo, one time point)"
    if a.sop == b.sop:
        why = "have the same SOPInstanceUID but different pixel data"
        fix = "find out which of them is right and keep that one, or export the series again"
    if all(copies):
        why = "have the same SOPInstanceUID and the same pixel data"
        fix = "keep one of the copies"
    raise InputError(
        f"{folder} has {len(pairs)} duplicated slice{'s' * (len(pairs) > 1)} ({a.file.name} and "
        f"{b.file.name} {why}): {fix}"
    )


def _same_pixels(file: Path, other: Path) -> bool:
    """Whether two files store the same pixels with the same scale, in the same encoding."""
    stored = []
    for one in (file, other):
        with decoding(one):
            data = read_data(one)
            stored.append([data.get(keyword) for keyword in ("PixelData", *SCALE, SHARED, EACH)])
    with decoding(other):  # values of sequences are decoded when they are compared
        return stored[0] == stored[1]


def _require_even(
    ordered: Sequence[Slice], places: np.ndarray, normal: np.ndarray, folder: Path
) -> None:
    """Refuse slices that are not evenly spaced on a straight line, fitted by least squares."""
    index = np.arange(len(places)) - (len(places) - 1) / 2
    step = index @ places / (index @ index)
    off = places - places.mean(0) - np.outer(index, step)
    gaps = np.diff(places @ normal)
    # If a slice is missing, some slices lie at least a third of a step away from the line.
    if np.linalg.norm(off, axis=1).max() <= min(PLACE_MM, gaps.min() / 4):
        return
    beside = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1).max()
    if beside > np.abs(off @ normal).max():
        raise InputError(
            f"{folder} holds slices up to {beside:.2g} mm beside the straight line through all of "
            "them: resample the series"
        )
    times = np.rint(gaps / gaps.min())
    wide = int(np.argmax(times > 1))
    if times.max() > 1 and (np.abs(gaps - times * gaps.min()) <= PLACE_MM * (1 + times)).all():
        missing = int((times - 1).sum())
        what = "a slice" if missing == 1 else f"{missing} slices, the first of them"
        raise InputError(
            f"{folder} lacks {what} between {ordered[wide].file.name} and "
            f"{ordered[wide + 1].file.name}: copy or export the series again"
        )
    raise InputError(
        f"{folder} has slices {gaps.min():.4g} to {gaps.max():.4g} mm apart: "
        "resample the series to one spacing"
    )
