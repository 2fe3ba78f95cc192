"""Figures of the MRs that a network was trained on, and warnings about an MR outside their ranges.

A network turns any image into a CT, even one of an anatomy, contrast or resolution that was not in
its training. The figures reveal only obvious cases: an MR within all ranges may still be unusual.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import numpy as np
from jaxtyping import Float, Shaped

from sde_ct.data.acquisition import Summary
from sde_ct.data.intensity import HISTOGRAM, Percentiles
from sde_ct.storage.records import Limit
from sde_ct.volumes.slice_grid import SliceGrid
from sde_ct.volumes.volume import canonical

Ranges = dict[str, tuple[float, float]]


class Contrast(TypedDict):
    """The values that `contrast` returns."""

    mean: Annotated[list[float], Limit(lambda m: len(m) == len(HISTOGRAM), "a histogram")]
    limit: float


class Seen(TypedDict):
    """A checkpoint's record of its training MRs; earlier versions recorded less."""

    figures: Annotated[Ranges, Limit(lambda r: r.keys() <= FIGURES.keys(), "ranges of `FIGURES`")]
    positions: NotRequired[list[str]]
    contrast: NotRequired[Contrast | None]
    acquisition: NotRequired[Summary | None]


class Figure(NamedTuple):
    """The name of a figure, and how far a new patient may lie beyond the training's range."""

    words: str
    unit: str
    slack: float  # in `unit`, or as a fraction of the larger end of the range if `relative`
    relative: bool = True


# Patients differ by about 10 % of a length, 20 % of an area, and 10 % of the way from dark to
# bright.
FIGURES = {
    "voxel_x": Figure("voxel size from left to right", "mm", 0.1),
    "voxel_y": Figure("voxel size from back to front", "mm", 0.1),
    "voxel_z": Figure("distance between slices", "mm", 0.1),
    "field_x": Figure("field of view from left to right", "mm", 0.1),
    "field_y": Figure("field of view from back to front", "mm", 0.1),
    "body_z": Figure("length of the body along z", "mm", 0.1),
    "body_width": Figure("width of the body", "mm", 0.1),
    "body_depth": Figure("depth of the body", "mm", 0.1),
    "body_area": Figure("area of the body", "cm²", 0.2),
    "mr_5": Figure("5th percentile of the scaled MR", "%", 10.0, relative=False),
    "mr_50": Figure("median of the scaled MR", "%", 10.0, relative=False),
    "mr_95": Figure("95th percentile of the scaled MR", "%", 10.0, relative=False),
}
# These figures have no lower limit, because a short piece of a known body is acceptable.
UPWARDS = ("body_z",)
DARK, BRIGHT = 0.5, 99.5  # the percentiles at 0 and 100 % of the scaled MR
FEWEST = 5  # a limit of the contrast needs at least this many training patients
# How far the limit of the contrast lies above the mean distance of the training patients. With both
# values and 35 patients, the rate of false warnings is 1.5 % for 100 phantoms and 0.6 % for 25
# heads.
DEVIATIONS = 3.0  # in standard deviations of these distances
ROUNDING = 1.0  # in addition, in percent of the span from dark to bright
SPREAD = 0.25  # a new patient may exceed a range by this fraction of its width


def figures(
    grid: SliceGrid, mask: Shaped[np.ndarray, "z h w"], percentiles: Percentiles
) -> dict[str, Float[np.ndarray, " n"]]:
    """The `FIGURES` of one MR.

    Width, depth and area have a value for each slice, which is NaN in a slice without body. Every
    other figure has one value.

    Args:
      grid: the grid of the slices.
      mask: 1 inside the body.
      percentiles: of the MR inside the body, a.u.
    """
    upright = canonical(grid.frame)
    voxel, shape = upright.spacing, upright.array.shape
    pixel = np.array(grid.pixel_mm)  # (y, x)
    inside = np.asarray(mask).reshape(grid.size) > 0
    body = inside.any(axis=(1, 2))
    rows, columns = inside.any(axis=2), inside.any(axis=1)
    span = percentiles[BRIGHT] - percentiles[DARK]
    scaled = {
        p: 100 * (percentiles[p] - percentiles[DARK]) / span if span > 0 else 0.0
        for p in (5.0, 50.0, 95.0)
    }
    by_slice = {
        "body_width": _extent(columns) * pixel[1],
        "body_depth": _extent(rows) * pixel[0],
        "body_area": inside.sum(axis=(1, 2)) * pixel.prod() / 100,
    }
    single = {
        **{f"voxel_{axis}": voxel[i] for i, axis in enumerate("xyz")},
        **{f"field_{axis}": shape[i] * voxel[i] for i, axis in enumerate("xy")},
        "body_z": body.sum() * voxel[2],
        **{f"mr_{p:g}": value for p, value in scaled.items()},
    }
    return {name: np.array([value], float) for name, value in single.items()} | {
        name: np.where(body, values, np.nan) for name, values in by_slice.items()
    }


def ranges(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The number of training patients, and the range of each figure over them, as plain JSON."""
    spans = {}
    for name in FIGURES:
        values = np.concatenate([case[name] for case in cases])
        spans[name] = [float(f"{v:.4g}") for v in (np.nanmin(values), np.nanmax(values))]
    return {"patients": len(cases), "figures": spans}


def warnings(
    seen: Mapping[str, Any] | None, mr: Mapping[str, Float[np.ndarray, " n"]]
) -> list[str]:
    """A sentence for every figure of an MR that lies clearly outside the training's range.

    Args:
      seen: from `ranges`; None, for a checkpoint without these figures, gives a warning.
      mr: from `figures`.
    """
    if seen is None:
        return ["Not checked: this checkpoint has no record of the MRs that it was trained on."]
    sentences = []
    for name, (low, high) in seen["figures"].items():
        figure, values = FIGURES[name], mr[name]
        own = figure.slack * (max(abs(low), abs(high)) if figure.relative else 1.0)
        slack = max(own, SPREAD * (high - low))
        outside = (values > high + slack) | ((values < low - slack) & (name not in UPWARDS))
        if outside.any():
            sentences.append(_sentence(figure, values, outside, low, high))
    return sentences


def contrast(cases: Sequence[Percentiles]) -> dict[str, Any] | None:
    """The mean histogram of the training's MRs and the limit for a new MR, as plain JSON.

    The distance of two histograms is the mean absolute difference of their `HISTOGRAM` percentiles,
    in percent of the span from dark to bright: nearly the first Wasserstein distance. The limit is
    the mean distance of a training patient from the mean of the other patients, plus `DEVIATIONS`
    standard deviations and `ROUNDING`. The result is None for fewer than `FEWEST` patients, or if
    these percentiles were not recorded for all of them.
    """
    shapes = [shape for one in cases if (shape := _shape(one)) is not None]
    if len(shapes) < max(FEWEST, len(cases)):
        return None
    total = np.sum(shapes, axis=0)
    distances = [np.abs(shape - (total - shape) / (len(shapes) - 1)).mean() for shape in shapes]
    limit = np.mean(distances) + DEVIATIONS * np.std(distances, ddof=1) + ROUNDING
    return {"mean": (total / len(shapes)).round(2).tolist(), "limit": round(float(limit), 2)}


def contrast_warning(seen: Mapping[str, Any] | None, percentiles: Percentiles) -> str | None:
    """A warning if the MR's contrast differs from the training's; otherwise None."""
    trained, shape = (seen or {}).get("contrast"), _shape(percentiles)
    if trained is None or shape is None:
        return None
    distance = np.abs(shape - trained["mean"]).mean()
    if distance <= trained["limit"]:
        return None
    return (
        f"The histogram of the MR in the body differs by {distance:.1f} % from the mean of the "
        f"training MRs; the limit is {trained['limit']:.1f} %. The contrast may differ, for "
        "example by another weighting or by fat suppression."
    )


def _shape(percentiles: Percentiles) -> Float[np.ndarray, " n"] | None:
    """The `HISTOGRAM` percentiles, scaled to 0 at dark and 100 at bright; None if not recorded."""
    if not set(HISTOGRAM) <= set(percentiles):
        return None
    low, span = percentiles[DARK], percentiles[BRIGHT] - percentiles[DARK]
    values = np.array([percentiles[p] for p in HISTOGRAM])
    return 100 * (values - low) / span if span > 0 else np.zeros(len(values))


def positions(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The DICOM Patient Positions of the training patients whose records hold them."""
    return sorted({one["patient_position"] for one in records if one.get("patient_position")})


def position_warning(seen: Mapping[str, Any] | None, position: str | None) -> str | None:
    """A warning if no training patient had this DICOM Patient Position; otherwise None.

    The image need not be rotated, because DICOM's axes are fixed to the patient. But gravity
    deforms the body and moves gas and fluid in a way that the network has not seen. Head first or
    feet first makes no difference. Unknown positions give no warning.
    """
    trained = (seen or {}).get("positions")
    if not trained or not position or position[2:] in {one[2:] for one in trained}:
        return None
    return (
        f"The patient's position is {position}; the network was trained on {', '.join(trained)}. "
        "The image axes are fixed to the patient, but the shape of the body and the position of "
        "gas differ."
    )


def _sentence(
    figure: Figure, values: np.ndarray, outside: np.ndarray, low: float, high: float
) -> str:
    here = _range(values[outside].min(), values[outside].max(), figure.unit)
    if len(values) > 1:
        where = np.flatnonzero(outside) + 1
        place = f"slice {where[0]}" if len(where) == 1 else f"slices {where[0]} to {where[-1]}"
        among = "" if len(where) == where[-1] - where[0] + 1 else f" ({len(where)} of them)"
        here += f" in {place}{among} of {len(values)}, counted from feet to head"
    trained = f"the network was trained on {_range(low, high, figure.unit)}"
    return f"The {figure.words} is {here}; {trained}."


def _range(low: float, high: float, unit: str) -> str:
    ends = dict.fromkeys((f"{low:.3g}", f"{high:.3g}"))  # a single number if both ends look alike
    return f"{' to '.join(ends)} {unit}"


def _extent(profile: Shaped[np.ndarray, "z n"]) -> Shaped[np.ndarray, " z"]:
    """The number of pixels from the first to the last true one of every row; 0 without any."""
    length = profile.shape[1]
    first, last = profile.argmax(axis=1), length - 1 - profile[:, ::-1].argmax(axis=1)
    return np.where(profile.any(axis=1), last - first + 1, 0)
