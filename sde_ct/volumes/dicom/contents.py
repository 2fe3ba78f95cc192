"""What the series written from a synthetic CT contain, and how each of them says so."""

from typing import Literal, NamedTuple

Content = Literal["ct", "spread", "calibrated spread"]


class Labels(NamedTuple):
    """Tags from which a reader learns what the voxels of a series mean."""

    number: int  # SeriesNumber, beyond what scanners count to
    kind: tuple[str, ...]  # ImageType, from its fourth value on
    window: tuple[int, int]  # centre and width, HU
    description: str  # SeriesDescription, 64 characters at most
    derivation: str  # DerivationDescription


CT = "Synthetic CT from MR, research only"
SPREAD = "Spread of synthetic CT (HU), not a CT, research only"
STD = "Standard deviation over draws of a synthetic CT, in HU"
FITTED = "scaled by tissue to the errors found on validation patients"
ESTIMATE = "Synthesized from MR by a trained network; HU are estimates."
LABELS: dict[Content, Labels] = {
    "ct": Labels(9001, (), (40, 400), CT, ESTIMATE),
    "spread": Labels(9002, ("SPREAD",), (100, 200), SPREAD, f"{STD}; not attenuation."),
    "calibrated spread": Labels(
        9002, ("SPREAD",), (100, 200), SPREAD, f"{STD}, {FITTED}; not attenuation."
    ),
}
