"""The path lengths of the patients in a report, as pictures of their rays."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from sde_ct.evaluation.cases import read_case
from sde_ct.evaluation.matching import CaseFiles
from sde_ct.report.html.report_content import Picture
from sde_ct.report.rays import fan
from sde_ct.uncertainty.judgement import Judgements
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.volumes.volume import Volume

CAPTION = (
    "Water-equivalent path lengths of {method} in {patient}. Left: the rays on the synthetic CT. "
    "Right: the draws and the real CT, relative to the nominal length."
)


def pictures(
    judgements: Judgements,
    files: Mapping[str, Sequence[CaseFiles]],
    shown: Collection[str],
    target_of: Callable[[CaseFiles, Volume], Volume],
) -> list[Picture]:
    """A picture for each method and each of the patients `shown` that has path lengths.

    Args:
        files: {method: the files of all its cases}.
        target_of: gives the target of a case on the grid of its CT.
    """
    drawn = []
    for method, judged in judgements.items():
        for case in files[method]:
            of_case = judged.patients.get(case.name)
            if case.name not in shown or of_case is None or of_case.ranges is None:
                continue
            ct, prediction, _ = read_case(case)
            target, ranges = target_of(case, ct), of_case.ranges
            figure = fan(prediction, target.array, ranges, f"{method}, {case.name}")
            caption = CAPTION.format(method=method, patient=case.name)
            drawn.append(Picture.drawn(caption, _in_words(ranges), figure))
    return drawn


def _in_words(ranges: TargetRanges) -> str:
    words = []
    for row in ranges.rows():
        if row.gantry is not None:
            real = f"{row.real:.1f} mm" if np.isfinite(row.real or np.nan) else "not measured"
            words.append(
                f"gantry {row.name}°: {row.nominal:.1f} mm in the mean of the draws, "
                f"{ranges.interval} {row.lower:.1f} to {row.upper:.1f} mm, {real} in the real CT"
            )
    return f"Path lengths to the target's centre. {'; '.join(words)}."
