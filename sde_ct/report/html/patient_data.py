"""A patient's volumes as data for the page."""

import math
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from sde_ct.report.html.contents import PatientView, require_one_grid
from sde_ct.report.html.fitting import Plan, depth_of, drawn, middle, most_draws, plan
from sde_ct.report.html.voxel_encoding import encode, quantise_hu, quantise_mr
from sde_ct.volumes.volume import Volume, canonical, rounded_hu, voxel_sha256

MR_WINDOW = (1.0, 99.5)  # percentiles of the body that are shown black and white
SPREAD_TOP = 99.0  # percentile of the body's spreads where the colours end
TIGHTER = 0.9  # of the budget, where an estimate was too low


class Encoded(NamedTuple):
    """A patient on the page: JSON-ready data, what was left out (or ""), and hashes."""

    data: dict[str, Any]
    left_out: str
    hashes: dict[str, str]


def encode_patient(view: PatientView, budget: float) -> Encoded:
    """The volumes in about `budget` bytes of base64, one slice at least.

    Raises:
        InputError: a volume does not lie on the CT's grid.
    """
    require_one_grid(view)
    allowed = budget
    while True:
        chosen = plan(view, allowed)
        data = _data(view, chosen)
        if _size(data) <= budget or chosen == Plan(1, 0):
            return Encoded(data, _left_out(view, chosen), _hashes(view))
        allowed *= TIGHTER


def _data(view: PatientView, chosen: Plan) -> dict[str, Any]:
    depth = depth_of(view)
    kept = middle(depth, chosen.slices)

    def hu(volume: Volume | None) -> str | None:
        return None if volume is None else encode(quantise_hu(volume, kept))

    return {
        "name": view.name,
        "shape": [*canonical(view.ct).array.shape[:2], chosen.slices],
        "first": kept.start,
        "depth": depth,
        **_place(view.ct),
        "mr": None if view.mr is None else _mr(view.mr, view.mask, kept),
        "ct": hu(view.ct),
        "mask": hu(view.mask.with_array(view.mask.array > 0)),
        "spreadTop": _spread_top(view),
        "methods": [
            {
                "name": name,
                "mean": hu(method.mean),
                "spread": hu(method.spread),
                "draws": [hu(draw) for draw in drawn(method)[: chosen.draws]],
                "ofDraws": len(method.draws),
            }
            for name, method in view.methods.items()
        ],
    }


def _place(ct: Volume) -> dict[str, Any]:
    """Where the shown voxels [x, y, z], axes nearest to RAS+, lie in the file and the patient.

    `file`: for each axis of the file (the shown axis, 1 or -1 for its direction).
    """
    shown = canonical(ct)
    return {
        "spacing": [round(float(step), 6) for step in shown.spacing],
        "affine": [[round(float(v), 6) for v in line] for line in shown.affine[:3]],
        "file": [[int(a), int(d)] for a, d in nib.orientations.io_orientation(ct.affine)],
    }


def _mr(mr: Volume, mask: Volume, kept: slice) -> dict[str, Any]:
    voxels, slope = quantise_mr(mr, kept)
    inside = canonical(mr).array[canonical(mask).array > 0]
    low, high = np.percentile(inside if inside.size else mr.array, MR_WINDOW)
    return {
        "data": encode(voxels),
        "slope": slope,
        "window": [float(low), float(max(high, low + slope))],
    }


def _spread_top(view: PatientView) -> float:
    """HU, a multiple of 100: one scale for all methods of a patient."""
    inside = canonical(view.mask).array > 0
    spreads = [canonical(m.spread).array[inside] for m in view.methods.values() if m.spread]
    if not spreads or not inside.any():
        return 100.0
    top = max(float(np.percentile(s, SPREAD_TOP)) for s in spreads)
    return 100.0 * max(1, math.ceil(top / 100))


def _size(data: dict[str, Any]) -> int:
    texts = [data["ct"], data["mask"], (data["mr"] or {}).get("data")]
    for method in data["methods"]:
        texts += [method["mean"], method["spread"], *method["draws"]]
    return sum(len(text) for text in texts if text)


def _left_out(view: PatientView, chosen: Plan) -> str:
    depth, draws = depth_of(view), most_draws(view)
    parts = []
    if chosen.slices < depth:
        parts.append(f"the middle {chosen.slices} of {depth} slices")
    if chosen.draws < draws:
        parts.append(f"{chosen.draws or 'none'} of {draws} draws")
    return f"{view.name}: {' and '.join(parts)}" if parts else ""


def _hashes(view: PatientView) -> dict[str, str]:
    """`voxel_sha256` in the file's order of axes: of the MR as read, of rounded HU otherwise."""
    hu = {"CT": view.ct} | {name: method.mean for name, method in view.methods.items()}
    hashes = {"MR": voxel_sha256(view.mr.array)} if view.mr else {}
    return hashes | {name: voxel_sha256(rounded_hu(v.array)) for name, v in hu.items()}
