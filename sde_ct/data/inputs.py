"""Turn an MR volume into the input of a network, alike in preparation and in synthesis."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from sde_ct.data.bias_field import without_bias_field
from sde_ct.data.contrasts import cut as cut_contrast
from sde_ct.data.contrasts import stacked
from sde_ct.data.intensity import Percentiles, RobustMR, SliceMinMax, body_percentiles
from sde_ct.data.regions.air import air_around
from sde_ct.data.regions.body import body_mask
from sde_ct.errors import InputError
from sde_ct.volumes.slice_grid import SliceGrid, slice_grid, to_slices
from sde_ct.volumes.volume import Volume, apart, canonical, reordered, same_grid


class CutMR(NamedTuple):
    """Unscaled axial slices of an MR."""

    mr: Float[np.ndarray, "z h w"]  # a.u.
    body: UInt8[np.ndarray, "z h w"]  # 1 inside the body
    grid: SliceGrid
    percentiles: Percentiles  # of the MR inside the body, a.u., from the volume's own voxels
    outline: Volume  # the body, on the volume's own voxels


class NetworkInput(NamedTuple):
    """The arrays on which a network is conditioned, and the grid and regions of the MR."""

    mr: Float[np.ndarray, "z h w k"]  # model units; k = contrasts·(1 + 2·neighbours)
    body: UInt8[np.ndarray, "z h w"]  # 1 inside the body
    mask: UInt8[np.ndarray, "z h w"]  # 1 where draws are judged: the given mask, or else the body
    air: Bool[np.ndarray, "z h w"]  # voxels that the MR shows to be air
    grid: SliceGrid
    percentiles: Percentiles  # of the MR inside the body, a.u., from the volume's own voxels


def cut_mr(
    mr: Volume,
    *,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    crop: bool = False,
    about_body: bool = False,
    n4: bool = False,
    name: str = "the MR",
) -> CutMR:
    """Outline the body with `body_mask` and cut the MR into slices.

    The percentiles depend on the MR alone, so that training and synthesis scale it alike.

    Args:
      mr: any orientation, a.u.
      spacing, size, multiple, crop: as for `slice_grid`.
      about_body: centre cropped slices on the body instead of on the image.
      n4: correct the bias field of the MR inside the body first.
      name: the name of the MR in errors, usually its path.

    Raises:
      InputError: the MR shows no body, N4 cannot fit a field, or as for `slice_grid`.
    """
    body = body_mask(mr)
    if not body.array.any():
        raise InputError(f"{name} shows no body, because its voxels look alike: give another MR")
    if n4:
        mr = without_bias_field(mr, body)
    centre = _middle(body) if about_body else None
    grid = slice_grid(mr, spacing=spacing, size=size, multiple=multiple, crop=crop, centre=centre)
    return CutMR(
        mr=to_slices(mr, grid, fill=float(mr.array.min())),
        body=cut_mask(body, grid),
        grid=grid,
        percentiles=body_percentiles(mr.array, body.array),
        outline=body,
    )


def cut_mask(mask: Volume, grid: SliceGrid) -> UInt8[np.ndarray, "z h w"]:
    """A mask as slices; a pixel is 1 if at least half of it lies inside."""
    return (to_slices(mask, grid) >= 0.5).astype(np.uint8)


def _middle(mask: Volume) -> tuple[float, float]:
    """The centre of the mask's bounding box, as a (y, x) voxel index of the upright volume."""
    x, y, _ = np.nonzero(canonical(mask).array)
    return (int(y.min()) + int(y.max())) / 2, (int(x.min()) + int(x.max())) / 2


def network_input(
    mr: Volume,
    scaling: RobustMR | SliceMinMax,
    mask: Volume | None = None,
    *,
    further: Sequence[Volume] = (),
    neighbours: int = 0,
    spacing: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    n4: bool = False,
    name: str = "the MR",
) -> NetworkInput:
    """Turn a whole MR volume, without cropping, into the input of a network.

    Args:
      mr, spacing, size, multiple, n4, name: as for `cut_mr`; spacing and n4 as in training.
      scaling: the intensity map of the MR in training.
      mask: the region in which draws are judged, on the grid of `mr` up to flipped or swapped axes.
        It does not change the scaling. None means the body.
      further: the other contrasts, in the order of the training, on any grid.
      neighbours: slices on each side of a slice, as in training.

    Raises:
      InputError: as for `cut_mr`; the mask is empty or lies on another grid; the volume has fewer
        than 1 + 2·neighbours slices; or another contrast does not cover the body.
    """
    if mask is not None and not same_grid(mr, mask := reordered(mask, mr.affine)):
        raise InputError(
            f"{name}: MR and mask lie on different grids ({apart(mr, mask)}): resample the mask "
            "onto the MR's grid"
        )
    if mask is not None and not mask.array.any():
        raise InputError(f"The mask of {name} is empty: give another mask, or no mask")
    cut = cut_mr(mr, spacing=spacing, size=size, multiple=multiple, n4=n4, name=name)
    require_slices(len(cut.mr), neighbours, name)
    contrasts = [(cut.mr, cut.percentiles)]
    contrasts += [
        cut_contrast(volume, cut.grid, cut.outline, f"MR contrast {number} of {name}", n4=n4)
        for number, volume in enumerate(further, start=2)
    ]
    index = neighbour_index(np.arange(len(cut.mr)), len(cut.mr), neighbours)
    judged = cut.body if mask is None else cut_mask(mask, cut.grid)
    return NetworkInput(
        mr=stacked([scaling.to_model(*contrast)[index] for contrast in contrasts]),
        body=cut.body,
        mask=judged,
        air=_air(cut, mr),
        grid=cut.grid,
        percentiles=cut.percentiles,
    )


def _air(cut: CutMR, mr: Volume) -> Bool[np.ndarray, "z h w"]:
    imaged = to_slices(mr.with_array(np.ones(mr.array.shape, np.uint8)), cut.grid) > 0.5
    dark, median = cut.percentiles[0.5], cut.percentiles[50.0]
    return air_around(cut.mr, cut.body, imaged, dark, median, cut.grid.pixel_mm)


def neighbour_index(z: Shaped[np.ndarray, " n"], depth: int, neighbours: int) -> np.ndarray:
    """Indices [n, 1 + 2·neighbours] of slices around each z, upwards; end slices are repeated."""
    around = np.arange(-neighbours, neighbours + 1)
    return np.clip(np.asarray(z)[:, None] + around, 0, depth - 1)


def require_slices(depth: int, neighbours: int, name: str) -> None:
    """Raise InputError if a volume has fewer slices than one network input needs."""
    if neighbours < 0:
        raise InputError(f"neighbours = {neighbours}: give 0 or more")
    if depth < 1 + 2 * neighbours:
        raise InputError(
            f"{name} has {depth} slices, but the network needs {1 + 2 * neighbours}: give a "
            f"longer volume or a network with fewer neighbours than {neighbours}"
        )
