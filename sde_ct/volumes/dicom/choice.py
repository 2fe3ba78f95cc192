"""Choose one volume of a series that holds several, by the values of DICOM tags."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import numpy as np
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.grid import LEAST_MM, arrange
from sde_ct.volumes.dicom.slice import Slice, printable

Choice = tuple[str, str]  # a DICOM keyword and a value
Image = tuple[Slice, Dataset]  # an image and its header
LISTED = 8  # an error lists at most this many volumes or values
MOST_TAGS = 12  # of the tags that differ, at most this many are tried, alone and combined
# Tags that usually differ between the volumes of a series. These tags are tried first.
TELLING = (
    *("EchoTime", "InversionTime", "ComplexImageComponent", "ImageType", "DiffusionBValue"),
    *("TemporalPositionIdentifier", "FlipAngle", "StackID", "AcquisitionNumber", "EchoNumbers"),
)
# Only tags of these VRs tell volumes apart, so no person names, dates, times, UIDs or sequences.
LISTED_VR = {"CS", "DS", "FD", "FL", "IS", "LO", "LT", "SH", "SL", "SS", "ST", "UL", "US"}
PATIENT_GROUP = 0x0010  # the group of tags that describe the patient
PLACE = {"ImageOrientationPatient", "ImagePositionPatient"}


def parse_choices(texts: Sequence[str]) -> tuple[Choice, ...]:
    """The keyword and value of each `KEYWORD=VALUE`.

    Raises InputError if a keyword is not that of a DICOM tag, or a value is missing.
    """
    choices = []
    for text in texts:
        keyword, _, value = (part.strip() for part in text.partition("="))
        if not value or tag_for_keyword(keyword) is None:
            raise InputError(
                f"--choose={text}: write a DICOM keyword and its value, as in --choose=EchoTime=100"
            )
        choices.append((keyword, value))
    return tuple(choices)


def chosen(images: Sequence[Image], choices: Sequence[Choice], folder: Path) -> list[Image]:
    """The images that have all the chosen values.

    Raises InputError if no image has them. The error lists the values that exist, unless the tag
    describes a person.
    """
    kept = list(images)
    for keyword, value in choices:
        before = kept
        kept = [image for image in before if _has(image, keyword, value)]
        if before and not kept:
            if _is_personal(keyword):
                raise InputError(
                    f"{folder} holds no image with {keyword}={value}: choose by a tag that does "
                    "not describe a person"
                )
            there = Counter(_value(image, keyword) for image in before)
            values = ", ".join(f"{v} ({n} images)" for v, n in there.most_common(LISTED))
            more = ", …" * (len(there) > LISTED)
            raise InputError(
                f"{folder} holds no image with {keyword}={value}: choose one of {values}{more}"
            )
    return kept


def _is_personal(keyword: str) -> bool:
    tag = tag_for_keyword(keyword)
    return tag is not None and (tag >> 16 == PATIENT_GROUP or dictionary_VR(tag) == "PN")


def require_one_volume(images: Sequence[Image], folder: Path) -> None:
    """Refuse a series of several volumes, and list the volumes.

    If no tags divide the series into volumes, this raises nothing, and `arrange` reports the fault.
    """
    if not _are_mixed([image for image, _ in images]):
        return
    telling = [keyword for keyword in _keywords(images) if _varies(images, keyword)][:MOST_TAGS]
    for count in (1, 2, 3):
        for keywords in combinations(telling, count):
            volumes = defaultdict(list)
            for image in images:
                volumes[tuple(f"{k}={_value(image, k)}" for k in keywords)].append(image[0])
            if not all(_is_volume(some, folder) for some in volumes.values()):
                continue
            each = [f"{' and '.join(tags)} ({len(some)} images)" for tags, some in volumes.items()]
            quoted = (tag.replace("'", r"'\''") for tag in next(iter(volumes)))  # for a shell
            flags = " ".join(f"--choose='{tag}'" for tag in quoted)
            raise InputError(
                f"{folder} holds {len(volumes)} volumes in one series, {', '.join(each[:LISTED])}"
                f"{', …' * (len(each) > LISTED)}: choose one, such as {flags}"
            )


def _are_mixed(slices: Sequence[Slice]) -> bool:
    """Whether any slices share a position or differ in size or direction."""
    first = slices[0]
    kinds = {(s.size, tuple(np.round(s.orientation, 3).ravel())) for s in slices}
    places = np.sort([float(s.position @ np.cross(*first.orientation)) for s in slices])
    return len(kinds) > 1 or bool((np.diff(places) < LEAST_MM).any())


def _is_volume(slices: Sequence[Slice], folder: Path) -> bool:
    with suppress(InputError):
        arrange(slices, folder)
        return True
    return False


def _keywords(images: Sequence[Image]) -> list[str]:
    """The tags that may tell volumes apart; those of `TELLING` come first."""
    header = images[0][1]
    with decoding(images[0][0].file):
        others = sorted(
            e.keyword
            for e in header
            if e.VR in LISTED_VR and e.keyword not in ("", *PLACE) and e.tag.group != PATIENT_GROUP
        )
    return list(dict.fromkeys((*TELLING, *others)))


def _varies(images: Sequence[Image], keyword: str) -> bool:
    return 1 < len({_value(image, keyword) for image in images}) <= LISTED


def _value(image: Image, keyword: str) -> str:
    """The value as a user writes it: "none" if absent; backslashes join several values."""
    with decoding(image[0].file):
        value = image[1].get(keyword)
        values = value if isinstance(value, (MultiValue, list)) else [value]
        text = printable("\\".join("" if v is None else str(v) for v in values))
        return (text.strip("\\") and text) or "none"


def _has(image: Image, keyword: str, value: str) -> bool:
    """Whether the tag or one of its values equals `value`, as text or as a number."""
    there = _value(image, keyword)
    for one in (there, *there.split("\\")):
        if one.casefold() == value.casefold():
            return True
        with suppress(ValueError):
            if float(one) == float(value):
                return True
    return False
