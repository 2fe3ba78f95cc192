"""From an MR volume to what a network is shown: one way for preparation and for synthesis."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from sde_ct.data.intensity import Percentiles, RobustMR, SliceMinMax, body_percentiles
from sde_ct.data.regions.body import body_mask
from sde_ct.errors import InputError
from sde_ct.volumes.slice_grid import SliceGrid, slice_grid, to_slices
from sde_ct.volumes.volume import Volume, canonical, same_grid


class CutMR(NamedTuple):
    """Axial slices of an MR, not yet scaled."""

    mr: Float[np.ndarray, "z h w"]  # a.u.
    mask: UInt8[np.ndarray, "z h w"]
    grid: SliceGrid
    percentiles: Percentiles  # a.u., inside the body, on the volume's own voxels
    body: Volume  # the mask on the volume's own voxels


class NetworkInput(NamedTuple):
    """An MR as a network is conditioned on it."""

    mr: Float[np.ndarray, "z h w k"]  # [-1, 1]; k = 1 + 2·neighbours
    mask: Float[np.ndarray, "z h w 1"]  # 1 inside the body
    grid: SliceGrid
    percentiles: Percentiles  # a.u., inside the body, on the volume's own voxels


def cut_mr(
    mr: Volume,
    mask: Volume | None = None,
    *,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    crop: bool = False,
    about_body: bool = False,
    name: str = "the MR",
) -> CutMR:
    """Outline the body where no mask is given, then cut MR and mask into slices.

    Args:
      mr: any orientation, a.u.
      mask: on the grid of `mr`; None computes it.
      spacing, size, multiple, crop: as for `slice_grid`.
      about_body: slices that are cut have the middle of the body as their centre.
      name: what an error calls the MR, its path as a rule.

    Raises:
      InputError: the mask lies on another grid, or it is empty.
    """
    if mask is not None and not same_grid(mr, mask):
        raise InputError(f"{name} and its mask lie on different grids: resample the mask")
    mask = body_mask(mr) if mask is None else mask
    if not mask.array.any():
        raise InputError(f"{name} has an empty body mask: give another MR or mask")
    centre = _middle(mask) if about_body else None
    grid = slice_grid(mr, spacing=spacing, size=size, multiple=multiple, crop=crop, centre=centre)
    return CutMR(
        mr=to_slices(mr, grid, fill=float(mr.array.min())),
        mask=(to_slices(mask, grid) >= 0.5).astype(np.uint8),
        grid=grid,
        percentiles=body_percentiles(mr.array, mask.array),
        body=mask,
    )


def _middle(mask: Volume) -> tuple[float, float]:
    """Of the box around the mask, as (y, x) voxel index of the upright volume."""
    x, y, _ = np.nonzero(canonical(mask).array)
    return (int(y.min()) + int(y.max())) / 2, (int(x.min()) + int(x.max())) / 2


def network_input(
    mr: Volume,
    scaling: RobustMR | SliceMinMax,
    mask: Volume | None = None,
    *,
    neighbours: int = 0,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    name: str = "the MR",
) -> NetworkInput:
    """The whole of an MR volume as a network's conditioning; nothing is cropped.

    Args:
      mr, mask, spacing, size, multiple, name: as for `cut_mr`; spacing as in training.
      scaling: the MR map of the training.
      neighbours: slices shown on each side, as in training.

    Raises:
      InputError: as `cut_mr`, or the volume has fewer than 1 + 2·neighbours slices.
    """
    cut = cut_mr(mr, mask, spacing=spacing, size=size, multiple=multiple, name=name)
    require_slices(len(cut.mr), neighbours, name)
    model = scaling.to_model(cut.mr, cut.percentiles)
    index = neighbour_index(np.arange(len(model)), len(model), neighbours)
    shown = np.moveaxis(model[index], 1, -1)
    inside = np.asarray(cut.mask, np.float32)[..., None]
    return NetworkInput(np.ascontiguousarray(shown), inside, cut.grid, cut.percentiles)


def neighbour_index(z: Shaped[np.ndarray, " n"], depth: int, neighbours: int) -> np.ndarray:
    """[n, 1 + 2·neighbours] slices around each z, below first; the end slices are repeated."""
    around = np.arange(-neighbours, neighbours + 1)
    return np.clip(np.asarray(z)[:, None] + around, 0, depth - 1)


def require_slices(depth: int, neighbours: int, name: str) -> None:
    """Refuse a volume with fewer slices than one network input shows."""
    if neighbours < 0:
        raise InputError(f"neighbours = {neighbours}: give 0 or more")
    if depth < 1 + 2 * neighbours:
        raise InputError(
            f"{name} has {depth} slices, the network needs {1 + 2 * neighbours}: "
            f"give a longer volume or a network with fewer neighbours than {neighbours}"
        )
