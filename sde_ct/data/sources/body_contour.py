"""The outline of the body that people drew, from the structure sets of a patient."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sde_ct.data.dicom.rtstruct import Roi, rasterise, read_structures
from sde_ct.data.volume import Volume
from sde_ct.errors import InputError

BODY = re.compile(r"^\s*(external|body|skin|outer.?contour)", re.IGNORECASE)
AGREED = ("consensus", "staple")  # of several observers; the first is preferred


class BodyContour(NamedTuple):
    """A mask, or why there is none."""

    mask: Volume | None
    chosen: str  # a sentence: which contours, and why
    warnings: tuple[str, ...]


def body_contour(files: Sequence[Path], mr: Volume, frame: str) -> BodyContour:
    """The body mask on the MR's grid from the best outline that can be read.

    An outline is a structure of type EXTERNAL or named like one. The observers' consensus is
    preferred, then STAPLE, then what most of the other outlines agree in.

    Args:
      files: RTSTRUCT files.
      mr: the MR.
      frame: its frame of reference; outlines in another are passed over.
    """
    outlines: list[Roi] = []
    warnings = []
    for file in files:
        try:
            outlines += [roi for roi in read_structures(file) if _is_body(roi)]
        except InputError as error:
            warnings.append(f"structure set passed over: {error}")
    here = [roi for roi in outlines if not roi.frame or not frame or roi.frame == frame]
    if len(here) < len(outlines):
        apart = len(outlines) - len(here)
        warnings.append(f"{apart} outlines lie in another frame of reference and were passed over")
    for group, why in _ranked(here):
        masks = []
        for roi in group:
            try:
                masks.append(rasterise(roi.polygons, mr).array)
            except InputError as error:
                warnings.append(f"outline {roi.name!r} passed over: {error}")
        if masks:
            most = (np.mean(masks, axis=0) > 0.5).astype(np.uint8)
            found = f"{group[0].name!r} of {group[0].set!r}" if len(group) == 1 else ""
            return BodyContour(
                mr.with_array(most, "mask"), f"{found}{why.format(len(masks))}", tuple(warnings)
            )
    reason = "no structure set" if not files else "no outline of the body that can be used"
    return BodyContour(None, f"computed from the MR: {reason}", tuple(warnings))


def _is_body(roi: Roi) -> bool:
    return roi.kind == "EXTERNAL" or BODY.match(roi.name) is not None


def _ranked(outlines: Sequence[Roi]) -> list[tuple[list[Roi], str]]:
    """Groups of outlines, the best first, and why each would be taken."""
    ranked = []
    left = list(outlines)
    for word in AGREED:
        named = [roi for roi in left if word in f"{roi.set} {roi.name}".casefold()]
        left = [roi for roi in left if roi not in named]
        ranked += [([roi], f": the observers' {word}") for roi in named]
    if len(left) > 1:
        ranked.append((left, "what most of {} outlines agree in"))
    return ranked + [([roi], ": the only outline of the body") for roi in left[:1]]
