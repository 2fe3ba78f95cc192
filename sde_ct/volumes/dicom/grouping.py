"""Group images into series, even if an anonymiser gave each file its own UIDs."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sde_ct.volumes.dicom.slice import Slice

LISTED = 8  # a message lists at most this many series


def by_series(images: Iterable[Slice]) -> list[list[Slice]]:
    """The images of each series.

    Images that each have a SeriesInstanceUID of their own form one series if they agree in patient,
    modality, description, size, orientation and spacing.
    """
    by_uid = defaultdict(list)
    for image in images:
        by_uid[image.series].append(image)
    groups = defaultdict(list)
    for uid, some in by_uid.items():
        groups[(uid,) if len(some) > 1 else _kind(some[0])].extend(some)
    return list(groups.values())


def listed(series: Sequence[Sequence[Slice]]) -> str:
    """List several series as text, each with the name of one of its files."""
    texts = [
        f"{some[0].description} ({some[0].modality}, {len(some)} slices, {some[0].file.name})"
        for some in series[:LISTED]
    ]
    return ", ".join(texts) + ", …" * (len(series) > LISTED)


def frame_is_each_slices_own(slices: Sequence[Slice]) -> bool:
    """Whether there are three or more slices and each has its own FrameOfReferenceUID."""
    return len(slices) > 2 and len({image.frame for image in slices}) == len(slices)


def doubts(slices: Sequence[Slice]) -> tuple[str, ...]:
    """A sentence for every UID that differs between the slices but should be the same."""
    uids = {"series": "SeriesInstanceUID", "frame": "FrameOfReferenceUID"}
    return tuple(
        f"each of its {len(slices)} files has a {uid} of its own, as some anonymisers write: check "
        "that all of them belong to one series"
        for key, uid in uids.items()
        if len({getattr(image, key) for image in slices}) > 1
    )


def _kind(image: Slice) -> tuple:
    turned = tuple(np.round(image.orientation, 3).ravel())
    spaced = tuple(np.round(image.spacing, 4))
    return image.modality, image.patient, image.description, image.size, turned, spaced
