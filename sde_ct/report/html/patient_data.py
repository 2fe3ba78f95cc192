"""A patient's volumes as data for the page, reduced to fit a number of bytes.

If the volumes do not fit, draws are left out until `FEW_DRAWS` are left, then slices far from the
middle until `FEW_SLICES` are left. If that does not fit, no draws are kept and more slices may fit.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from sde_ct.report.html.report_content import PatientView, Prediction, require_one_grid
from sde_ct.report.html.voxel_encoding import encode, quantise_hu, quantise_mr
from sde_ct.volumes.volume import Volume, canonical, rounded_hu, voxel_sha256

FEW_DRAWS = 2  # the fewest that are worth switching between
FEW_SLICES = 8  # the fewest that are worth scrolling through
MR_WINDOW = (1.0, 99.5)  # percentiles in the body that are shown black and white
SPREAD_TOP = 99.0  # percentile of the spread in the body at which the colours end
TIGHTER = 0.9  # factor on the budget after an estimate that was too low


class Plan(NamedTuple):
    """What is kept: the `slices` in the middle, and the first `draws` of each method."""

    slices: int
    draws: int


class Encoded(NamedTuple):
    """A patient on the page: JSON data, the part of the volumes shown ("" if all), and hashes."""

    data: dict[str, Any]
    shown: str
    hashes: dict[str, str]


def encode_patient(view: PatientView, budget: float) -> Encoded:
    """The volumes in at most `budget` bytes of base64, but with at least one slice.

    Raises InputError where a volume does not lie on the CT's grid.
    """
    require_one_grid(view)
    allowed = budget
    while True:
        chosen = plan(view, allowed)
        data, size = _data(view, chosen)
        if size <= budget or chosen == Plan(1, 0):
            return Encoded(data, _shown(view, chosen), _hashes(view))
        allowed *= TIGHTER


def plan(view: PatientView, budget: float) -> Plan:
    """The first plan that fits into `budget` bytes, but with at least one slice.

    The size is estimated from three slices of each kind of volume.
    """
    fixed, each = _slice_bytes(view)
    for choice in _choices(depth_of(view), _most_draws(view)):
        shown = sum(len(_draws(method)[: choice.draws]) for method in view.methods.values())
        if choice.slices * (fixed + shown * each) <= budget:
            return choice
    return Plan(1, 0)


def _choices(depth: int, count: int) -> Iterator[Plan]:
    """Plans from everything to one slice, so that readers lose the least important first."""
    few, enough = min(FEW_DRAWS, count), min(FEW_SLICES, depth)
    yield from (Plan(depth, draws) for draws in range(count, few, -1))
    yield from (Plan(slices, few) for slices in range(depth, enough - 1, -1))
    yield from (Plan(slices, 0) for slices in range(depth, 0, -1))


def depth_of(view: PatientView) -> int:
    """The number of axial slices of the whole volume."""
    return canonical(view.ct).array.shape[2]


def _most_draws(view: PatientView) -> int:
    return max((len(_draws(method)) for method in view.methods.values()), default=0)


def _draws(method: Prediction) -> tuple[Volume, ...]:
    """The draws to switch between: none if there is only one, which equals the mean."""
    return method.draws if len(method.draws) > 1 else ()


def middle(depth: int, slices: int) -> slice:
    """The middle `slices` of `depth`."""
    first = (depth - slices) // 2
    return slice(first, first + slices)


def _slice_bytes(view: PatientView) -> tuple[float, float]:
    """The bytes of one slice of all volumes but the draws, and of one slice of one draw."""
    methods = list(view.methods.values())
    kept = [view.ct, *(m.mean for m in methods), *(m.spread for m in methods if m.spread)]
    draws = [_draws(m)[0] for m in methods if _draws(m)]
    depth = depth_of(view)
    z = np.unique([depth // 4, depth // 2, 3 * depth // 4])

    def size(voxels: np.ndarray) -> float:
        return len(encode(voxels)) / len(z)

    mr = size(quantise_mr(view.mr, z).voxels) if view.mr else 0.0
    each = [size(quantise_hu(volume, z)) for volume in draws]
    return mr + sum(size(quantise_hu(v, z)) for v in kept), sum(each) / max(len(each), 1)


def _data(view: PatientView, chosen: Plan) -> tuple[dict[str, Any], int]:
    """The data for viewer.js, and the number of characters of all volumes.

    `file` gives the axis of the page and its direction, 1 or -1, for each axis of the CT's file.
    """
    shown = canonical(view.ct)
    depth = shown.array.shape[2]
    kept = middle(depth, chosen.slices)
    texts: list[str] = []

    def text(voxels: np.ndarray) -> str:
        texts.append(encode(voxels))
        return texts[-1]

    def hu(volume: Volume | None) -> str | None:
        return text(quantise_hu(volume, kept)) if volume else None

    def mr(volume: Volume) -> dict[str, Any]:
        voxels, scale = quantise_mr(volume, kept)
        inside = canonical(volume).array[canonical(view.mask).array > 0]
        low, high = np.percentile(inside if inside.size else volume.array, MR_WINDOW)
        window = [float(low), float(max(high, low + scale))]
        return {"data": text(voxels), "scale": scale, "window": window}

    data = {
        "name": view.name,
        "shape": [*shown.array.shape[:2], chosen.slices],
        "first": kept.start,
        "depth": depth,
        "spacing": [round(float(step), 6) for step in shown.spacing],
        "affine": [[round(float(v), 6) for v in line] for line in shown.affine[:3]],
        "file": [[int(a), int(d)] for a, d in nib.orientations.io_orientation(view.ct.affine)],
        "mr": mr(view.mr) if view.mr else None,
        "ct": hu(view.ct),
        "mask": hu(view.mask.with_array(view.mask.array > 0)),
        "spreadTop": _spread_top(view),
        "methods": [
            {
                "name": name,
                "mean": hu(method.mean),
                "spread": hu(method.spread),
                "draws": [hu(draw) for draw in _draws(method)[: chosen.draws]],
                "ofDraws": len(method.draws),
            }
            for name, method in view.methods.items()
        ],
    }
    return data, sum(map(len, texts))


def _spread_top(view: PatientView) -> float:
    """The end of the colour scale for all methods of a patient, a multiple of 100 HU."""
    inside = canonical(view.mask).array > 0
    spreads = [canonical(m.spread).array[inside] for m in view.methods.values() if m.spread]
    top = max((np.percentile(s, SPREAD_TOP) for s in spreads if s.size), default=0.0)
    return 100.0 * max(1, math.ceil(top / 100))


def _shown(view: PatientView, chosen: Plan) -> str:
    depth, draws = depth_of(view), _most_draws(view)
    parts = []
    if chosen.slices < depth:
        parts.append(f"the middle {chosen.slices} of {depth} slices")
    if chosen.draws < draws:
        parts.append(f"{chosen.draws or 'none'} of {draws} draws")
    return f"{view.name}: {' and '.join(parts)}" if parts else ""


def _hashes(view: PatientView) -> dict[str, str]:
    """`voxel_sha256` of the MR as read and of rounded HU, in the files' order of axes."""
    hu = {"CT": view.ct} | {name: method.mean for name, method in view.methods.items()}
    hashes = {"MR": voxel_sha256(view.mr.array)} if view.mr else {}
    return hashes | {name: voxel_sha256(rounded_hu(v.array)) for name, v in hu.items()}
