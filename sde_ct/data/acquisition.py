"""Compare an MR's acquisition, as its DICOM header states it, with that of the training MRs."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict

from sde_ct.errors import InputError
from sde_ct.storage.records import Positive
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.patient_names import secrets_of, words_of
from sde_ct.volumes.dicom.series import Series

# In ms. TE and TR are at least LONG in a T2-weighted spin echo, and at most SHORT in a T1-weighted
# one.
LONG_TE, SHORT_TE = 60.0, 30.0
LONG_TR, SHORT_TR = 2000.0, 1200.0
# With these scanning sequences (echo-planar, inversion recovery), TE and TR alone do not show
# whether an MR is T1- or T2-weighted.
PREPARED = {"EP", "IR"}
NOT = r"(?<!no)(?<!non)(?<!no[ _-])(?<!non[ _-])(?<!without[ _-])(?<!w/o[ _-])"
FAT_SUPPRESSED = re.compile(f"{NOT}fat[ _-]?(sat|sup)", re.IGNORECASE)
# The largest relative difference in field strength, and the largest factor in bandwidth, without a
# warning.
FIELD, BANDWIDTH = 0.2, 2.0

# How a warning describes a value of each category, both of the new MR and of the training MRs.
CATEGORIES: dict[str, Callable[[Any], str]] = {
    "weighting": lambda value: f"{value}-weighted",
    "fat_suppression": lambda value: f"acquired with{'' if value else 'out'} fat suppression",
    "agent": lambda value: f"acquired with{'' if value else 'out'} a contrast agent",
    "manufacturer": lambda value: f"acquired on a scanner by {value}",
}


class Facts(TypedDict, total=False):
    """The values that `facts` returns."""

    weighting: str
    fat_suppression: bool
    agent: bool
    manufacturer: str
    field: Positive
    bandwidth: Positive


class Summary(TypedDict, total=False):
    """The values that `summary` returns."""

    weighting: list[str]
    fat_suppression: list[bool]
    agent: list[bool]
    manufacturer: list[str]
    field: list[Positive]
    bandwidth: list[Positive]


def weighting_of(te: float, tr: float, sequence: Collection[str]) -> str:
    """T1, T2 or "" (unknown), from the echo and repetition times in ms and Scanning Sequence."""
    if PREPARED & set(sequence):
        return ""
    if te >= LONG_TE and tr >= LONG_TR:
        return "T2"
    return "T1" if te <= SHORT_TE and tr <= SHORT_TR else ""


def facts(mr: Series) -> dict[str, Any]:
    """What the header of an MR says about its acquisition, as plain JSON, without unknown values.

    The keys are those of `CATEGORIES`, `field` (tesla) and `bandwidth` (Hz per pixel). A damaged
    value counts as unknown.
    """
    te, tr = _number(mr, "EchoTime"), _number(mr, "RepetitionTime")
    values = {
        "weighting": weighting_of(te, tr, _texts(mr, "ScanningSequence")) if te and tr else None,
        "fat_suppression": _fat_suppression(mr),
        "agent": _agent(mr),
        "manufacturer": _manufacturer(mr),
        "field": _number(mr, "MagneticFieldStrength"),
        "bandwidth": _number(mr, "PixelBandwidth"),
    }
    return {name: value for name, value in values.items() if value not in (None, "")}


def summary(cases: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The distinct values of each fact over the training patients, sorted, as plain JSON.

    Args:
      cases: the `facts` of each patient, {} for a patient of whom nothing is known.
    """
    names = [*CATEGORIES, "field", "bandwidth"]
    values = {name: sorted({one[name] for one in cases if name in one}) for name in names}
    return {name: some for name, some in values.items() if some}


def warnings(seen: Mapping[str, Any] | None, mr: Mapping[str, Any]) -> list[str]:
    """A sentence for each known fact of an MR that does not fit the training.

    Args:
      seen: a checkpoint's record of the training MRs; older checkpoints have no `acquisition`.
      mr: from `facts`.
    """
    trained = (seen or {}).get("acquisition") or {}
    known = [name for name in mr if trained.get(name)]
    sentences = [
        f"According to its header, this MR is {words(mr[name])}; the network was trained on MRs "
        f"that are {' or '.join(map(words, trained[name]))}."
        for name, words in CATEGORIES.items()
        if name in known and mr[name] not in trained[name]
    ]
    if "field" in known:
        field, fields = mr["field"], trained["field"]
        if min(abs(field / one - 1) for one in fields) > FIELD:
            among = " or ".join(f"{one:.3g}" for one in fields)
            sentences.append(
                f"The field strength is {field:.3g} T; the network was trained on {among} T."
            )
    if "bandwidth" in known:
        width, low, high = mr["bandwidth"], trained["bandwidth"][0], trained["bandwidth"][-1]
        if not low / BANDWIDTH <= width <= high * BANDWIDTH:
            ends = " to ".join(dict.fromkeys((f"{low:.3g}", f"{high:.3g}")))
            sentences.append(
                f"The bandwidth is {width:.3g} Hz per pixel; the network was trained on {ends} Hz "
                "per pixel. Geometric distortion and noise may differ."
            )
    return sentences


def _fat_suppression(mr: Series) -> bool | None:
    texts = *_texts(mr, "SequenceName"), *_texts(mr, "SeriesDescription")
    if FAT_SUPPRESSED.search(" ".join(texts)):
        return True
    enhanced = _texts(mr, "SpectrallySelectedSuppression")  # a tag of enhanced MR
    options = _texts(mr, "ScanOptions")
    if "FS" in options or any("FAT" in value for value in enhanced):
        return True
    if _is_damaged(mr, "ScanOptions", "SpectrallySelectedSuppression"):
        return None
    # The standard requires Scan Options, which may be empty. Only a header that was stripped of
    # tags lacks it.
    return False if "ScanOptions" in mr.header or enhanced else None


def _agent(mr: Series) -> bool | None:
    """Whether the header names a contrast agent; None if it is damaged or has no echo time."""
    # ContrastBolusAgentSequence is a tag of enhanced MR.
    if _texts(mr, "ContrastBolusAgent") or _texts(mr, "ContrastBolusAgentSequence"):
        return True
    if _is_damaged(mr, "ContrastBolusAgent", "ContrastBolusAgentSequence"):
        return None
    return False if _number(mr, "EchoTime") else None


def _manufacturer(mr: Series) -> str | None:
    """The first word of the manufacturer's name, in capitals, unless it may name the patient.

    The other words differ between scanners of one manufacturer.
    """
    word = re.search(r"[^\W\d_]+", " ".join(_texts(mr, "Manufacturer")))
    with suppress(InputError), decoding(mr.slices[0].file):
        if word and not words_of(word[0]) & secrets_of(mr.header):
            return word[0].upper()
    return None


def _texts(mr: Series, keyword: str) -> list[str]:
    """The non-empty values of a tag; an empty list if the tag is damaged."""
    with suppress(InputError), decoding(mr.slices[0].file):
        value = mr.header.get(keyword)
        several = [value] if isinstance(value, str) or value is None else list(value)
        return [text for one in several if (text := str(one or "").strip())]
    return []


def _is_damaged(mr: Series, *keywords: str) -> bool:
    """Whether a value of these tags cannot be decoded."""
    with suppress(InputError), decoding(mr.slices[0].file):
        for keyword in keywords:
            mr.header.get(keyword)
        return False
    return True


def _number(mr: Series, keyword: str) -> float | None:
    """The value of a tag if it is one positive number, otherwise None."""
    with suppress(InputError), decoding(mr.slices[0].file):
        value = float(mr.header.get(keyword) or 0)
        return value if 0 < value < math.inf else None
    return None
