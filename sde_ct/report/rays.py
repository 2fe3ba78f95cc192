"""The picture of path lengths: a fan of rays to a target, and the lengths' uncertainty."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sde_ct.errors import InputError
from sde_ct.report.charts import PALETTE
from sde_ct.report.figures import CT_WINDOW
from sde_ct.report.layout import DPI, FONT, SMALL, View, mark_sides
from sde_ct.uncertainty.ranges import TargetRanges
from sde_ct.volumes.masks import Mask
from sde_ct.volumes.overlap import TISSUE_ABOVE
from sde_ct.volumes.volume import Volume, canonical

TARGET, REAL = PALETTE[4], PALETTE[6]
COLOURS = (*PALETTE[1:4], PALETTE[5], PALETTE[7])  # of the gantry angles
WIDTH, LEAST_HEIGHT, ROW = 8.2, 3.0, 0.42  # inches; each gantry angle has a row
CENTRAL = 1.4  # points, the width of the ray to the centre


def fan(ct: Volume, target: Mask, ranges: TargetRanges, title: str) -> Figure:
    """The rays on the axial slice through the target's centre, and their water-equivalent lengths.

    On the left, rays that end in other slices are projected onto this one. On the right, each
    gantry angle has a row for its ray to the centre. The row gives the nominal length as a number
    and, relative to the nominal length, the lengths in the draws, an interval, and the length in
    the real CT. The figure has 200 dpi.

    Args:
        ct: the CT to show, HU, in any orientation.
        target: above 0 in the target, on the grid of `ct`.
        ranges: the path lengths; the first ray of each angle is the one to the centre.

    Raises:
        InputError: the target has another shape than the CT, or the rays end outside the CT.
    """
    if target.shape != ct.array.shape:
        raise InputError(
            f"The target has shape {target.shape} and the CT {ct.array.shape}: resample it onto "
            "the CT's grid."
        )
    rays, figures, bounds = ranges.rays, ranges.figures, ranges.bounds
    upright, inside = canonical(ct), canonical(ct.with_array(target)).array > 0
    to_voxels = np.linalg.inv(upright.affine)
    starts, ends = (p @ to_voxels[:3, :3].T + to_voxels[:3, 3] for p in (rays.starts, rays.ends))
    z = round(float(ends[0, 2]))
    if not 0 <= z < upright.array.shape[2]:
        raise InputError("The rays end outside the CT: show the CT that they were made for.")
    plane = upright.array[..., z]
    body = plane > TISSUE_ABOVE
    view = View(body if body.any() else np.ones_like(body), tuple(upright.spacing[:2]))
    angles = list(dict.fromkeys(rays.gantry.tolist()))
    height = max(LEAST_HEIGHT, 0.5 * WIDTH * view.height_to_width, ROW * len(angles) + 1)
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    view.draw(left, plane, "rays to the target", cmap="gray", **CT_WINDOW)
    mark_sides(left)
    left.contour(view.picture(inside[..., z]), levels=[0.5], colors=TARGET, linewidths=1)
    left.autoscale(False)
    segments = view.place(np.stack([starts, ends], axis=1)[..., :2])
    labels = []
    for row, (angle, colour) in enumerate(zip(angles, cycle(COLOURS), strict=False)):
        of_angle = np.flatnonzero(rays.gantry == angle)
        centre = of_angle[0]
        style: dict[str, Any] = {"color": colour, "zorder": 2}
        left.plot(*segments[of_angle].T, linewidth=0.3, alpha=0.5, **style)
        left.plot(*segments[centre].T, linewidth=CENTRAL, **style)
        nominal, draws = figures.nominal[centre], figures.lengths[:, centre]
        right.hlines(row, *(bounds[:, centre] - nominal), linewidth=3, **style)
        right.plot(draws - nominal, np.full(len(draws), row), "|", color="black", markersize=7)
        if figures.real is not None:
            right.plot(figures.real[centre] - nominal, row, "D", color=REAL, markersize=5)
        labels.append(f"{angle:g}°: {nominal:.1f} mm")
    _finish(right, labels, ranges.interval, real=figures.real is not None)
    figure.suptitle(title, fontsize=FONT)
    return figure


def save_fan(path: Path, ct: Volume, target: Mask, ranges: TargetRanges, title: str) -> None:
    """Write the `fan` as PNG without date and version, so that equal figures give equal bytes."""
    fan(ct, target, ranges, title).savefig(path, format="png", metadata={"Software": None})


def _finish(axes: Axes, labels: list[str], interval: str, *, real: bool) -> None:
    """Add row labels in the colours of the rays, the legend, and a line at the nominal length."""
    axes.axvline(0, color="0.5", linestyle="--", linewidth=1)
    axes.set(yticks=range(len(labels)), ylim=(len(labels) - 0.4, -0.6))
    axes.set_yticklabels(labels, fontsize=FONT)
    for text, colour in zip(axes.get_yticklabels(), cycle(COLOURS), strict=False):
        text.set_color(colour)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("water-equivalent path length, minus nominal (mm)", fontsize=FONT)
    axes.set_title("ray to the target's centre, nominal length", fontsize=FONT)
    axes.plot([], [], "--", color="0.5", linewidth=1, label="nominal, in the mean CT")
    axes.plot([], [], "-", color="0.4", linewidth=3, label=interval)
    axes.plot([], [], "|", color="black", markersize=7, linewidth=0, label="draws")
    if real:
        axes.plot([], [], "D", color=REAL, markersize=5, linewidth=0, label="real CT")
    axes.figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower right", ncols=4, fontsize=SMALL
    )
