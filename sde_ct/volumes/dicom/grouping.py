"""Which images form one series, also where an anonymiser gave each file UIDs of its own."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sde_ct.volumes.dicom.slice import Slice

LISTED = 8  # series that a sentence names


def by_series(images: Iterable[Slice]) -> list[list[Slice]]:
    """The images of each series.

    Images whose SeriesInstanceUID no other image has form one series where they agree in patient,
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
    """Several series in a sentence, each with one of its files."""
    texts = [
        f"{some[0].description} ({some[0].modality}, {len(some)} slices, {some[0].file.name})"
        for some in series[:LISTED]
    ]
    return ", ".join(texts) + ", …" * (len(series) > LISTED)


def frame_is_each_slices_own(slices: Sequence[Slice]) -> bool:
    """Whether no two of three or more slices have one FrameOfReferenceUID."""
    return len(slices) > 2 and len({image.frame for image in slices}) == len(slices)


def doubts(slices: Sequence[Slice]) -> tuple[str, ...]:
    """A sentence for every UID that should be the same in all slices of a volume and is not."""
    each = [k for k in ("series", "frame") if len({getattr(image, k) for image in slices}) > 1]
    names = {"series": "SeriesInstanceUID", "frame": "FrameOfReferenceUID"}
    return tuple(
        f"each of its {len(slices)} files has a {names[key]} of its own, as some anonymisers "
        "write: the files were read as one series because their size, orientation, spacing and "
        "description agree; check that all of them belong to it"
        for key in each
    )


def _kind(image: Slice) -> tuple:
    turned = tuple(np.round(image.orientation, 3).ravel())
    spaced = tuple(np.round(image.spacing, 4))
    return image.modality, image.patient, image.description, image.size, turned, spaced
