"""Make a body mask from outlines in a patient's structure sets."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.data.regions.body import body_mask
from sde_ct.errors import InputError
from sde_ct.volumes.dicom.rtstruct import Roi, rasterise, read_structures
from sde_ct.volumes.overlap import dice
from sde_ct.volumes.volume import Volume

# The pattern matches whole names only, so that "External iliac nodes" is not a body.
BODY = re.compile(
    r"\W*(external|body|skin|outer[ _.-]?contour)"
    r"([ _.-]*(contour|outline|surface|observer|obs|consensus|staple|\d+))*\W*$",
    re.IGNORECASE,
)
# Outlines agreed on by several observers; the first kind is preferred.
AGREED = ("consensus", "staple")
# The least number of outlines that make a majority, and the least Dice of each of them with it.
MAJORITY, ALIKE = 3, 0.8
LEAST_LIKE = 0.85  # least Dice of an outline with the body that the MR shows
JUMP = 2.0  # the area jumps if it is this many times larger or smaller than on both sides
BESIDE = 3  # a slice is compared with the median area of this many slices on each side


class BodyContour(NamedTuple):
    """A mask, or the reason why there is none."""

    mask: Volume | None
    chosen: str  # which contours were chosen, and why
    warnings: tuple[str, ...]


def body_contour(files: Sequence[Path], mr: Volume, frame: str) -> BodyContour:
    """The mask on the MR's grid from the best outline that can be read.

    The mask is the observers' consensus, or else their STAPLE, or else the majority of the other
    outlines. If fewer than three of these agree, the outline most similar to the body in the MR is
    used.

    Args:
      files: RTSTRUCT files.
      mr: the MR.
      frame: its frame of reference; outlines in another frame are ignored.
    """
    outlines, warnings = _outlines(files, frame)
    for group, why in _ranked(outlines):
        drawn: list[tuple[Roi, Volume]] = []
        for roi in group:
            try:
                drawn.append((roi, rasterise(roi.polygons, mr)))
            except InputError as error:
                warnings.append(f"outline {roi.name!r} was ignored: {error}")
        if drawn:
            body = body_mask(mr)
            mask, chosen = _agreed(drawn, why, body)
            if (likeness := dice(mask.array, body.array)) < LEAST_LIKE and body.array.any():
                warnings.append(
                    f"the outline and the body that the MR shows overlap by {likeness:.2f} (Dice): "
                    "look at the picture"
                )
            if jumps := _jumps(mask):
                warnings.append(
                    f"the outline's area jumps at slice {', '.join(map(str, jumps))} of "
                    f"{mask.array.shape[2]} (counted from 1): look at its contours there"
                )
            return BodyContour(mask, chosen, tuple(warnings))
    reason = "no structure set" if not files else "no outline of the body that can be used"
    return BodyContour(None, f"computed from the MR: {reason}", tuple(warnings))


def _outlines(files: Sequence[Path], frame: str) -> tuple[list[Roi], list[str]]:
    """The body outlines in the MR's frame of reference, and warnings about ignored ones.

    In each structure set, the outlines of type EXTERNAL are used, or else those named like a body.
    """
    found: list[Roi] = []
    warnings, known = [], set()
    for file in files:
        try:
            structures = read_structures(file)
        except InputError as error:
            warnings.append(f"a structure set was ignored: {error}")
            continue
        structures = tuple(roi for roi in structures if roi.instance not in known)
        # A structure set that was exported twice counts once.
        known |= {roi.instance for roi in structures}
        typed = [roi for roi in structures if roi.kind == "EXTERNAL"]
        found += typed or [roi for roi in structures if BODY.match(roi.name)]
    here = [roi for roi in found if not roi.frame or not frame or roi.frame == frame]
    if len(here) < len(found):
        apart = len(found) - len(here)
        warnings.append(f"{apart} outlines lie in another frame of reference and were ignored")
    return here, warnings


def _ranked(outlines: Sequence[Roi]) -> list[tuple[list[Roi], str]]:
    """Groups of outlines, from best to worst, each with a description."""
    ranked = []
    left = list(outlines)
    for word in AGREED:
        named = [roi for roi in left if word in f"{roi.set} {roi.name}".casefold()]
        left = [roi for roi in left if word not in f"{roi.set} {roi.name}".casefold()]
        ranked += [([roi], f"the observers' {word}") for roi in named]
    return [*ranked, (left, "the only outline of the body")] if left else ranked


def _jumps(mask: Volume) -> list[int]:
    """Numbers, from 1, of slices whose area is far smaller or larger than on both sides."""
    area = mask.array.sum(axis=(0, 1), dtype=float)
    inner = np.flatnonzero(area)[[0, -1]] if area.any() else (0, 0)
    jumps = []
    for k in range(inner[0] + 1, inner[1]):
        sides = [np.median(side) for side in (area[max(0, k - BESIDE) : k], area[k + 1 :][:BESIDE])]
        if area[k] * JUMP < min(sides) or area[k] > JUMP * max(sides):
            jumps.append(k + 1)
    return jumps


def _agreed(drawn: Sequence[tuple[Roi, Volume]], why: str, body: Volume) -> tuple[Volume, str]:
    """One mask for a group of outlines, and a description of it."""
    masks = [mask.array for _, mask in drawn]
    most = np.mean(masks, axis=0) > 0.5
    alike = [mask for mask in masks if dice(mask, most) >= ALIKE]
    if len(alike) >= MAJORITY:
        agreed = (np.mean(alike, axis=0) > 0.5).astype(np.uint8)
        return body.with_array(agreed), f"the majority of {len(alike)} similar outlines"
    roi, mask = max(drawn, key=lambda pair: dice(pair[1].array, body.array))
    if len(drawn) > 1:
        why = f"the most similar of {len(drawn)} outlines to the body that the MR shows"
    return mask, f"{roi.name!r} of {roi.set!r}: {why}"
