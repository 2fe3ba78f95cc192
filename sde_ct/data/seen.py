"""Figures of the MRs that a network was trained on, and warnings about an MR outside their range.

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
    """The record of `contrast`."""

    mean: Annotated[list[float], Limit(lambda m: len(m) == len(HISTOGRAM), "a histogram")]
    limit: float


class Seen(TypedDict):
    """What a checkpoint keeps of the MRs of its training; earlier versions kept less."""

    figures: Annotated[Ranges, Limit(lambda r: r.keys() <= FIGURES.keys(), "ranges of `FIGURES`")]
    positions: NotRequired[list[str]]
    contrast: NotRequired[Contrast | None]
    acquisition: NotRequired[Summary | None]


class Figure(NamedTuple):
    """The name of a figure, and how far a new patient may lie beyond the training's range."""

    words: str
    unit: str
    slack: float  # in the figure's `unit`, or as a fraction of its value if `relative`
    relative: bool = True


# Patients differ by about 10 % of a length, 20 % of an area, and 10 % of the way from dark to
# bright.
FIGURES = {
    "voxel_x": Figure("voxel size from left to right", "mm", 0.1),
    "voxel_y": Figure("voxel size from back to front", "mm", 0.1),
    "voxel_z": Figure("distance of slices", "mm", 0.1),
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
# With the values below and 35 training patients, 1.5 % of 100 phantoms and 0.6 % of 25 heads get a
# warning without reason.
DEVIATIONS, ROUNDING = 3.0, 1.0  # standard deviations; percent from dark to bright
SPREAD = 0.25  # a new patient may exceed a range by this fraction of its width


def figures(
    grid: SliceGrid, mask: Shaped[np.ndarray, "z h w"], percentiles: Percentiles
) -> dict[str, Float[np.ndarray, " n"]]:
    """The `FIGURES` of one MR.

    Width, depth and area have one value per slice (NaN without body), the others one value.

    Args:
      grid: the grid of the slices.
      mask: 1 inside the body.
      percentiles: of the MR inside the body, a.u.
    """
    voxel = canonical(grid.frame).spacing
    shape = canonical(grid.frame).array.shape
    pixel = np.array(grid.scale) * voxel[1::-1]  # (y, x), mm
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
    """The smallest and largest value of each figure over the training patients, as plain JSON."""
    spans = {}
    for name in FIGURES:
        values = np.concatenate([case[name] for case in cases])
        spans[name] = [float(f"{v:.4g}") for v in (np.nanmin(values), np.nanmax(values))]
    return {"patients": len(cases), "figures": spans}


def warnings(
    seen: Mapping[str, Any] | None, mr: Mapping[str, Float[np.ndarray, " n"]]
) -> list[str]:
    """A sentence for every figure of an MR that lies outside the training's range.

    Args:
      seen: from `ranges`. None, for a checkpoint without these figures, gives a warning.
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

    The distance of two histograms is the mean difference of their `HISTOGRAM` percentiles, in
    percent of the way from dark to bright: the first Wasserstein distance. The limit is the mean
    distance of a training patient from the mean of the others, plus `DEVIATIONS` standard
    deviations. The result is None for fewer than `FEWEST` patients, or if these percentiles were
    not recorded.
    """
    shapes = [shape for one in cases if (shape := _shape(one)) is not None]
    if len(shapes) < max(FEWEST, len(cases)):
        return None
    total = np.sum(shapes, axis=0)
    distances = [
        np.abs(shape - (total - shape) / (len(shapes) - 1)).mean() for shape in shapes
    ]  # distance of each patient from the mean of the others
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
        f"The grey values in the body are spread unlike those of the training: {distance:.1f} % "
        f"apart where its patients are at most {trained['limit']:.1f} % apart. The contrast may "
        "differ, for example by another weighting or by suppressed fat."
    )


def _shape(percentiles: Percentiles) -> Float[np.ndarray, " n"] | None:
    """The `HISTOGRAM` percentiles, 0 at dark and 100 at bright; None if they are unknown."""
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

    The image need not be rotated, because DICOM's coordinates are those of the patient. But gravity
    deforms the body and moves gas and fluid in a way that the network has not seen. Head first or
    feet first makes no difference. Unknown positions are not judged.
    """
    trained = (seen or {}).get("positions")
    if not trained or not position or position[2:] in {one[2:] for one in trained}:
        return None
    return (
        f"The patient's position is {position}; the network was trained on {', '.join(trained)}. "
        "Its image is oriented by the patient's coordinates, but the shape of the body and the "
        "position of gas differ."
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
    """The distance from the first to the last true pixel of every row."""
    length = profile.shape[1]
    first, last = profile.argmax(axis=1), length - 1 - profile[:, ::-1].argmax(axis=1)
    return np.where(profile.any(axis=1), last - first + 1, 0)
