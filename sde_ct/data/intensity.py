"""Map physical intensities to the [-1, 1] that networks see, or to the paper's [0, 1], and back.

A checkpoint stores the pair of maps, `Intensity`, as plain JSON values, so that training and
synthesis use the same pair.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.errors import InputError
from sde_ct.storage.records import restored

# PERCENTILES of the MR inside the body are recorded for every volume. HISTOGRAM is the part of them
# that describes the shape of the histogram.
HISTOGRAM = tuple(map(float, range(5, 100, 5)))
PERCENTILES = (0.0, 0.1, 0.5, 1.0, 2.0, *HISTOGRAM, 98.0, 99.0, 99.5, 99.9, 100.0)
Percentiles = Mapping[float, float]


def body_percentiles(
    mr: Shaped[np.ndarray, "x y z"], mask: Shaped[np.ndarray, "x y z"]
) -> dict[float, float]:
    """The `PERCENTILES` of an MR volume (a.u.) over the voxels inside its body mask."""
    values = np.percentile(mr[mask > 0], PERCENTILES)
    return {p: float(v) for p, v in zip(PERCENTILES, values, strict=True)}


@dataclass(frozen=True)
class HUWindow:
    """x = 2 (HU - low) / (high - low) - 1, clipped to [-1, 1]."""

    low: float = -1000.0
    high: float = 2000.0

    def __post_init__(self):
        if not self.low < self.high:
            raise InputError(f"HU window [{self.low}, {self.high}]: low must lie below high")

    def to_model(self, hu: Shaped[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """HU to [-1, 1], float32, clipped to the window."""
        return _rescale(hu, self.low, self.high)

    def to_hu(self, x: Shaped[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """[-1, 1] to HU, float32, without clipping, so that a spread can be computed afterwards."""
        return _restore(x, self.low, self.high)


@dataclass(frozen=True)
class RobustMR:
    """Map the MR between two percentiles of its own body voxels to [-1, 1], clipped.

    Cortical bone and gas have the lowest signal in a body and are as dark as air, so air becomes
    nearly -1. The percentiles must be among `PERCENTILES`, which are recorded with prepared data.
    """

    low_percentile: float = 0.5
    high_percentile: float = 99.5

    def __post_init__(self):
        for p in (self.low_percentile, self.high_percentile):
            if p not in PERCENTILES:
                raise InputError(f"MR percentile {p} is not recorded: choose one of {PERCENTILES}")
        if not self.low_percentile < self.high_percentile:
            raise InputError("MR scaling: low_percentile must lie below high_percentile")

    def to_model(
        self, mr: Shaped[np.ndarray, "*d"], percentiles: Percentiles
    ) -> Float[np.ndarray, "*d"]:
        """a.u. to [-1, 1], float32, by the volume's own `body_percentiles`."""
        low, high = percentiles[self.low_percentile], percentiles[self.high_percentile]
        return _rescale(mr, low, high)


@dataclass(frozen=True)
class SliceMinMax:
    """Map each slice from its own minimum and maximum to [0, 1], for MR and CT (arXiv 2209.12104).

    The inverse for a CT would need the range of the slice that is to be predicted, but this range
    is unknown. `to_hu` therefore uses one range, `low` to `high` in HU, for all slices: the median
    slice range of the training patients (`dataset.fit_intensity`). These HU are wrong where a slice
    differs from the median, most of all in bone and metal. Use this map only to repeat the paper
    exactly.
    """

    low: float = -1000.0
    high: float = 2000.0

    def to_model(
        self, slices: Shaped[np.ndarray, "*z h w"], percentiles: Percentiles | None = None
    ) -> Float[np.ndarray, "*z h w"]:
        """HU or a.u. to [0, 1], float32. `percentiles` is not used, and a flat slice becomes 0."""
        low = slices.min(axis=(-2, -1), keepdims=True)
        high = slices.max(axis=(-2, -1), keepdims=True)
        return (_rescale(slices, low, high) + 1) / 2

    def to_hu(self, x: Shaped[np.ndarray, "*d"]) -> Float[np.ndarray, "*d"]:
        """[0, 1] to HU, float32, by the median range of the training slices."""
        return _restore(2 * np.asarray(x, np.float32) - 1, self.low, self.high)


KINDS = {"hu_window": HUWindow, "robust": RobustMR, "slice_min_max": SliceMinMax}


@dataclass(frozen=True)
class Intensity:
    """The pair of maps of one experiment."""

    mr: RobustMR | SliceMinMax = field(default_factory=RobustMR)
    ct: HUWindow | SliceMinMax = field(default_factory=HUWindow)

    def to_json(self) -> dict[str, Any]:
        """Plain values from which `from_json` restores the maps without loss."""
        names = {kind: name for name, kind in KINDS.items()}
        return {k: {"kind": names[type(m)], **asdict(m)} for k, m in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Intensity":
        """The maps from `to_json`. Raises ValueError if `values` describes no maps."""
        try:
            maps = {}
            for key in ("mr", "ct"):
                numbers = {k: v for k, v in values[key].items() if k != "kind"}
                maps[key] = KINDS[values[key]["kind"]](**restored(dict[str, float], numbers, key))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError("intensity maps: give 'mr' and 'ct' as to_json writes them") from error
        if not hasattr(maps["ct"], "to_hu") or isinstance(maps["mr"], HUWindow):
            raise InputError("intensity maps: 'mr' cannot be hu_window, nor 'ct' robust")
        return cls(**maps)  # type: ignore[arg-type]


def _rescale(value: np.ndarray, low: Any, high: Any) -> np.ndarray:
    value, low, high = (np.asarray(v, np.float32) for v in (value, low, high))
    # A flat volume or slice holds no information. It becomes -1 everywhere, without a division by
    # zero.
    span = np.where(high > low, high - low, np.float32(1))
    return np.clip(2 * ((value - low) / span) - 1, -1, 1)


def _restore(x: np.ndarray, low: float, high: float) -> np.ndarray:
    half = np.float32((high - low) / 2)
    return (np.asarray(x, np.float32) + 1) * half + np.float32(low)
