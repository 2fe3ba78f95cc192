"""The figures of a case, which are the columns of the tables and of metrics.csv.

To add a figure to all protocols, write a function of (ct, sct, mask) and add an entry here. To add
a figure to one protocol, add the entry to the `columns` of this protocol (see `protocols`).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from sde_ct.evaluation import metrics
from sde_ct.volumes.masks import CtVolume, Mask

Group = Literal["main", "more", "tissue", "draws"]  # "main" is also printed in the terminal


class Column(NamedTuple):
    """One figure of a method on a patient.

    Attributes:
        name: the name in metrics.csv and metrics.json.
        title: heading in tables, with the unit.
        digits: number of digits after the decimal point, in tables.
        group: the table in which it is shown.
        measure: computes the figure from the real CT, the synthetic CT (both HU) and the mask. None
            if the protocol, the draws or the synthesis give the figure.
    """

    name: str
    title: str
    digits: int
    group: Group = "more"
    measure: Callable[[CtVolume, CtVolume, Mask], float] | None = None

    @property
    def always(self) -> bool:
        """Whether tables and files have the column even if no case has its figure.

        Other columns appear if a case has the figure: SSIM or MS-SSIM, as the protocol says, and
        the columns outside `SHARED`.
        """
        return self in SHARED and self.name not in ("ssim", "ms_ssim")


def _by_tissue(measure: Callable[..., float], prefix: str, words: str) -> list[Column]:
    tissues = {"air": "air", "soft": "soft tissue", "bone": "bone"}
    return [
        Column(f"{prefix}_{t}", f"{words} {name} (HU)", 1, "tissue", partial(measure, tissue=t))
        for t, name in tissues.items()
    ]


SHARED = (  # columns of all protocols, in the order of metrics.csv
    Column("mae", "MAE (HU, body)", 1, "main", metrics.mae),
    Column("psnr", "PSNR (dB)", 2, "main"),
    Column("ssim", "SSIM", 4, "main"),  # the protocol's `similarity` fills one of these two columns
    Column("ms_ssim", "MS-SSIM", 4, "main"),
    Column("nfe", "evaluations/slice", 0, "main"),  # network evaluations of all draws together
    Column("seconds", "seconds/slice", 3, "main"),  # wall-clock time, all draws together
    Column("spearman", "rank correlation of spread and error", 2, "draws"),
    Column("spread_skill", "spread-skill", 2, "draws"),
    Column("crps", "CRPS (HU)", 1, "draws"),
    Column("spread", "spread (HU)", 1, "draws"),
    Column("mean_error", "mean error (HU)", 1, "more", metrics.mean_error),
    *_by_tissue(metrics.mae, "mae", "MAE"),
    Column("detail", "fine detail", 2, "more", metrics.detail_ratio),
    Column("large_errors", "large errors", 4, "more", metrics.large_error_share),
    *_by_tissue(metrics.mean_error, "mean_error", "mean error"),
    Column("histogram_distance", "histogram distance (HU)", 1, "more", metrics.histogram_distance),
    Column("through_plane", "change between slices", 2, "more", metrics.through_plane),
)
# A case has this figure only if a part of the body was not measured.
UNMEASURED = Column("unmeasured", "body that the CT did not measure (%)", 1)
