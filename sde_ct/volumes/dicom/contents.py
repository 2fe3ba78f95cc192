"""The tags that describe the content of each DICOM object that is written for a synthetic CT."""

from typing import NamedTuple


class Labels(NamedTuple):
    """Tags that tell a reader what the voxels mean."""

    number: int  # SeriesNumber, higher than the numbers that scanners use
    code: str  # ContentLabel of a map, 16 characters at most
    window: tuple[int, int]  # centre and width, HU
    description: str  # SeriesDescription, 64 characters at most
    derivation: str  # DerivationDescription


ESTIMATE = "Synthesized from MR by a trained network; HU are estimates."
CT = Labels(9001, "CT", (40, 400), "Synthetic CT from MR, research only", ESTIMATE)
AXIAL = Labels(
    9007, "CT", (40, 400), "Synthetic CT from MR, axial, research only",
    f"{ESTIMATE} Interpolated onto axial slices.",
)  # fmt: skip


def with_remark(labels: Labels, words: str, sentence: str) -> Labels:
    """Labels with `words` after the description and `sentence` after the derivation.

    The labels stay as they are if `words` is empty.
    """
    if not words:
        return labels
    description = f"{labels.description}, {words}"[:64]
    return labels._replace(description=description, derivation=f"{labels.derivation} {sentence}")


STD = "Standard deviation over draws of a synthetic CT, in HU"
BOUND = "bound of every voxel of a synthetic CT, in HU"
NO_CT = "; not attenuation."
FITTED = "scaled by tissue to the errors found on validation patients"


def _map(number: int, code: str, name: str, derivation: str, window: tuple[int, int]) -> Labels:
    return Labels(number, code, window, f"{name} (HU), not a CT, research only", derivation + NO_CT)


# The keys are the names of the outputs. Dose must not be calculated on a map.
MAPS = {
    "sct_std": _map(9002, "SPREAD", "Spread of synthetic CT", STD, (100, 200)),
    "sct_std_within": _map(
        9003, "SPREAD_WITHIN", "Spread within networks", f"{STD}, within networks", (100, 200)
    ),
    "sct_std_between": _map(
        9004, "SPREAD_BETWEEN", "Spread between networks", f"{STD}, between networks", (100, 200)
    ),
    "sct_lower": _map(
        9005, "LOWER_BOUND", "Lower bound of synthetic CT", f"Lower {BOUND}", (40, 400)
    ),
    "sct_upper": _map(
        9006, "UPPER_BOUND", "Upper bound of synthetic CT", f"Upper {BOUND}", (40, 400)
    ),
}
CALIBRATED = _map(9002, "SPREAD", "Spread of synthetic CT", f"{STD}, {FITTED}", (100, 200))
