"""What the series written of a synthetic CT are, and how each says so."""

from typing import Literal, NamedTuple

Content = Literal["ct", "spread", "calibrated spread"]


class Labels(NamedTuple):
    """Tags that tell a reader what the voxels of a series mean."""

    description: str  # SeriesDescription, 64 characters at most
    derivation: str  # DerivationDescription
    kind: tuple[str, ...]  # ImageType, from its fourth value on
    window: tuple[int, int]  # centre and width, HU
    number: int  # SeriesNumber, beyond what scanners count to


_SPREAD = Labels(
    "Spread of synthetic CT (HU), not a CT, research only",
    "Standard deviation over draws of a synthetic CT, in HU; not attenuation.",
    ("SPREAD",),
    (100, 200),
    9002,
)
LABELS: dict[Content, Labels] = {
    "ct": Labels(
        "Synthetic CT from MR, research only",
        "Synthesized from MR by a trained network; HU are estimates.",
        (),
        (40, 400),
        9001,
    ),
    "spread": _SPREAD,
    "calibrated spread": _SPREAD._replace(
        derivation="Standard deviation over draws of a synthetic CT, in HU, scaled by tissue to "
        "the errors found on validation patients; not attenuation."
    ),
}
