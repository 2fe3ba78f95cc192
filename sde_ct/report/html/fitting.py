"""What of a patient fits in a share of the page: fewer draws first, then fewer slices."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sde_ct.report.html.contents import MethodView, PatientView
from sde_ct.report.html.voxel_encoding import encode, quantise_hu, quantise_mr
from sde_ct.volumes.volume import Volume, canonical

FEW_DRAWS = 2  # to switch between
FEW_SLICES = 8  # to scroll through


class Plan(NamedTuple):
    """What is kept: `slices` in the middle of the volumes, and the first `draws` of a method."""

    slices: int
    draws: int


def plan(view: PatientView, budget: float) -> Plan:
    """The first of the choices that fits into `budget` bytes; one slice at least.

    The size is estimated from three slices of each kind of volume.
    """
    depth, count = depth_of(view), most_draws(view)
    fixed, each = _slice_bytes(view)
    for choice in _choices(depth, count):
        drawn = sum(min(choice.draws, n) for n in _draw_counts(view))
        if choice.slices * (fixed + drawn * each) <= budget:
            return choice
    return Plan(1, 0)


def _choices(depth: int, count: int) -> Iterator[Plan]:
    """From everything to little, in the order in which a reader would rather give things up."""
    few, enough = min(FEW_DRAWS, count), min(FEW_SLICES, depth)
    yield from (Plan(depth, draws) for draws in range(count, few, -1))
    yield from (Plan(slices, few) for slices in range(depth, enough - 1, -1))
    yield from (Plan(slices, 0) for slices in range(depth, 0, -1))


def depth_of(view: PatientView) -> int:
    """Axial slices of the whole volume."""
    return canonical(view.ct).array.shape[2]


def most_draws(view: PatientView) -> int:
    """Draws of the method that has most of them."""
    return max(_draw_counts(view), default=0)


def _draw_counts(view: PatientView) -> list[int]:
    return [len(drawn(method)) for method in view.methods.values()]


def drawn(method: MethodView) -> tuple[Volume, ...]:
    """The draws that there are to switch between: a single one is the mean itself."""
    return tuple(method.draws) if len(method.draws) > 1 else ()


def middle(depth: int, slices: int) -> slice:
    """`slices` of `depth` in the middle."""
    first = (depth - slices) // 2
    return slice(first, first + slices)


def _slice_bytes(view: PatientView) -> tuple[float, float]:
    """Bytes of a slice of all that is always kept, and of one draw."""
    kept = [view.ct, *(m.mean for m in view.methods.values())]
    kept += [m.spread for m in view.methods.values() if m.spread is not None]
    draws = [drawn(m)[0] for m in view.methods.values() if drawn(m)]
    depth = depth_of(view)
    z = np.unique([depth // 4, depth // 2, 3 * depth // 4])

    def size(voxels: np.ndarray) -> float:
        return len(encode(voxels)) / len(z)

    mr = size(quantise_mr(view.mr, z).voxels) if view.mr else 0.0
    each = [size(quantise_hu(volume, z)) for volume in draws]
    return mr + sum(size(quantise_hu(v, z)) for v in kept), sum(each) / max(len(each), 1)
