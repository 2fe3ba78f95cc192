"""Read each frame of a multi-frame file (Enhanced MR, PS3.3 C.7.6.16) as one slice."""

from pathlib import Path

from pydicom.dataset import Dataset

from sde_ct.errors import InputError
from sde_ct.volumes.decoding import decoding
from sde_ct.volumes.dicom.slice import Slice, slice_of

SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# Tags of functional groups, and the tags with the same meaning in files of one slice.
RENAMED = {
    "EffectiveEchoTime": "EchoTime",
    "FrameType": "ImageType",
    "InversionTimes": "InversionTime",
}


def framed(header: Dataset, file: Path) -> list[tuple[Slice, Dataset]]:
    """The slices in an image file, each with its own header.

    Raises InputError as `slice_of` does, or if frames and their descriptions differ in number.
    """
    with decoding(file):
        if not header.get(EACH):
            return [(slice_of(header, file), header)]
        count = int(header.get("NumberOfFrames") or 1)
        if len(header[EACH].value) != count:
            raise InputError(
                f"{file} holds {count} frames but describes {len(header[EACH].value)}: export "
                "the series again"
            )
        headers = [frame_header(header, index) for index in range(count)]
    return [(slice_of(one, file, index), one) for index, one in enumerate(headers)]


def slices_of(header: Dataset, file: Path) -> list[Slice]:
    """The slices in an image file. Raises InputError as `framed` does."""
    return [image for image, _ in framed(header, file)]


def frame_header(header: Dataset, index: int) -> Dataset:
    """One frame's tags, merged from the file, its shared groups and the frame's own groups."""
    frame = Dataset()
    frame.update({e.tag: e for e in header if e.keyword not in (SHARED, EACH, "NumberOfFrames")})
    for groups in (*(header.get(SHARED) or ())[:1], header[EACH].value[index]):
        for group in groups:
            if group.VR == "SQ" and group.value:
                frame.update(group.value[0])
    for keyword, usual in RENAMED.items():
        if keyword in frame:
            setattr(frame, usual, frame[keyword].value)
    frame.file_meta = header.file_meta
    return frame
