"""The figures that are measured for a patient, and the reason for a review that each can give."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Features = Mapping[str, float]  # by name; NaN or missing where a figure could not be measured

BOTH, HIGH = "both", "high"


class Feature(NamedTuple):
    """One figure.

    Attributes:
      reason: a key of `REASONS`.
      words: the name of the figure in a sentence.
      unit: of the figure, as in a sentence.
      sides: `BOTH` if a low value is as suspicious as a high one, else `HIGH`.
      log: whether patients are compared by the logarithm, as sizes and spreads are.
      resolution: the smallest meaningful difference, of the logarithm if `log`. If the training
        patients vary less, the resolution replaces their variation.
    """

    reason: str
    words: str
    unit: str
    sides: str = BOTH
    log: bool = True
    resolution: float = 0.01

    def scaled(self, value: float) -> float:
        """The value by which patients are compared: its logarithm if `log`."""
        return float(np.log(max(value, 1e-6))) if self.log else float(value)


REASONS = {
    "settings": "other sampling settings than those of the fit",
    "draws": "draws that failed",
    "header": "another acquisition than in the training",
    "grid": "another grid than in the training",
    "empty": "slices without a body",
    "truncated": "a body cut off by the field of view",
    "body": "a body of another size than in the training",
    "orientation": "an MR that is turned or mirrored",
    "implant": "a signal void in the body, as by metal",
    "artefact": "a displaced copy of the body, as by ghosting",
    "uneven": "an uneven brightness, as by the coil",
    "noise": "more noise than in the training",
    "contrast": "other grey values than in the training",
    "anatomy": "an anatomy unlike the training",
    "seams": "seams between slices of the CT",
    "air": "air outside the body that is not air in the CT",
    "tissue": "other bone or soft tissue than in patients of like build",
    "spread": "a spread that is unusually small or large",
    "error": "a high predicted error",
    "range": "path lengths that are too uncertain",
}

# Causes are named before their consequences. A ghost reaches the edges of the field, as a truncated
# body does. A truncated outline changes all figures of the body. A failed draw changes the spread.
# Every fault of an MR changes its features in the network and the synthetic CT. Reasons are
# therefore sorted by these groups, and by weight within each group.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("grid", "empty", "artefact"),
    ("truncated",),
    ("body", "implant", "uneven", "noise", "contrast"),
    ("orientation",),
    ("draws",),
    ("anatomy",),
    ("seams", "air", "tissue", "spread", "error", "range"),
)
# Faults of the acquisition, which change other figures too.
CAUSES = GROUPS[0] + GROUPS[1] + GROUPS[2]
# A cause with a weight of at most 1 is named before the group of the reason given here. Changed
# grey values can make an MR look turned or mirrored, and a body that is cut off is small.
MILD = {"contrast": "orientation", "uneven": "orientation", "truncated": "body"}
LATER = "anatomy"  # all other causes with such a weight are named before the group of this reason
WORDS = {"body": "body", "bone": "bone", "soft": "soft tissue"}  # each tissue in words
TISSUES = tuple(WORDS)

FEATURES = {
    **{f"voxel_{axis}": Feature("grid", f"voxel size along {axis}", "mm") for axis in "xyz"},
    **{f"field_{axis}": Feature("grid", f"field of view along {axis}", "mm") for axis in "xy"},
    "empty": Feature("empty", "share of slices without a body", "", HIGH, log=False),
    **{
        f"touching_{axis}": Feature(
            "truncated", f"share of the body's outline on the {side} edge", "", HIGH, log=False
        )
        for axis, side in (("x", "left or right"), ("y", "front or back"))
    },
    "width": Feature("body", "width of the body", "mm"),
    "depth": Feature("body", "depth of the body", "mm"),
    "area": Feature("body", "area of the body", "cm²"),
    "length": Feature("body", "length of the body", "mm", HIGH),
    "turned": Feature(
        "orientation", "unlikeness to the training, relative to the MR turned over", "", HIGH
    ),
    "mirrored_odds": Feature(
        "orientation", "likeness to mirrored patients, relative to usual ones", "", HIGH, log=False
    ),
    "void": Feature("implant", "largest volume without signal in the body", "cm³", HIGH),
    "ghost": Feature("artefact", "strength of a displaced copy", "", HIGH, log=False),
    "uneven": Feature("uneven", "smooth variation of the brightness", "", HIGH),
    "noise": Feature("noise", "variation between neighbouring voxels of the MR", "", HIGH),
    "contrast": Feature(
        "contrast", "deviation of the grey values, in standard deviations", "", HIGH, log=False
    ),
    "anatomy": Feature("anatomy", "unlikeness of the slices, on average", "", HIGH),
    "anatomy_worst": Feature("anatomy", "unlikeness of the least alike slice", "", HIGH),
    "seam": Feature("seams", "largest change between slices, over the usual one", "", HIGH),
    "air_hu": Feature("air", "mean of the air in the CT", "HU", HIGH, log=False, resolution=1.0),
    "bone_volume": Feature("tissue", "volume of bone, relative to patients of like build", ""),
    "bone_hu": Feature("tissue", "mean of bone", "HU", log=False, resolution=1.0),
    "soft_hu": Feature("tissue", "mean of soft tissue", "HU", log=False, resolution=1.0),
    "outlying_draw": Feature(
        "draws",
        "distance of the most different draw, relative to the others",
        "",
        HIGH,
        resolution=0.1,
    ),
    **{f"spread_{t}": Feature("spread", f"mean spread in the {WORDS[t]}", "HU") for t in TISSUES},
    **{
        f"error_{t}": Feature("error", f"predicted MAE in the {WORDS[t]}", "HU", HIGH)
        for t in TISSUES
    },
}  # fmt: skip
