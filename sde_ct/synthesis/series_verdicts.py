"""The verdict that the descriptions of each CT series carry, which a later call may contradict."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sde_ct.acceptance.verdict import PASS, REVIEW
from sde_ct.errors import InputError
from sde_ct.synthesis.sidecar import RESULTS
from sde_ct.volumes.dicom.slice import read_header

KEY = "series_verdicts"  # in a sidecar: the verdict of each CT series, by the series' path
NONE = "none"  # for a series that was written without a verdict


def series_of(name: str) -> tuple[str, str]:
    """The paths of the CT series of one volume, relative to the output."""
    return f"dicom/{name}/sct", f"dicom/{name}/sct_axial"


def written(
    folder: Path, name: str, paths: Sequence[str], sidecar: Mapping[str, Any], words: str
) -> dict[str, str]:
    """The verdict of each CT series, for the sidecar; missing series are written with `words`.

    Args:
      folder: the folder of all outputs.
      name: the volume's name.
      paths: the outputs that are asked for, relative to `folder`.
      sidecar: the sidecar until now; an empty one if there is none.
      words: the verdict in a few words that the new series carry, or an empty string.
    """
    word = words.partition(":")[0] or NONE
    new = [one for one in series_of(name) if one in paths and not (folder / one).exists()]
    return {**(sidecar.get(KEY) or {}), **dict.fromkeys(new, word)}


def contradictions(
    folder: Path, name: str, sidecar: Mapping[str, Any], word: str, limit: float | None
) -> list[str]:
    """A warning for each CT series of a volume that carries another verdict than `word`.

    `limit` is the widest interval of a path length that passes, mm, if the verdict has one.
    """
    flags = "--accept" + (f" and --range_limit={limit}" if limit is not None else "")
    warnings = []
    for one in series_of(name):
        if one not in (sidecar.get(RESULTS) or {}) or not (folder / one).is_dir():
            continue
        carried = (sidecar.get(KEY) or {}).get(one) or _described(folder / one)
        if carried != word:
            wrong = f"the verdict {carried} of an earlier call, not {word}"
            wrong = f"no verdict instead of {word}" if carried == NONE else wrong
            warnings.append(
                f"{folder / one} carries {wrong}: remove this folder and give the command of the "
                f"synthesis again, with {flags}."
            )
    return warnings


def _described(series: Path) -> str:
    """The verdict in the first file of a series, for a sidecar that does not record it."""
    with suppress(InputError, IndexError, StopIteration):
        header = read_header(sorted(series.iterdir())[0])
        description = str(header.get("SeriesDescription") or "")
        return next(word for word in (PASS, REVIEW) if f", {word}" in description)
    return NONE
