"""Several MR contrasts of one patient, such as T2 and T1, on the grid of the first one.

The first contrast defines the grid, the body and the slices. Each other contrast is a further
channel, scaled by its own percentiles inside the body.
"""

import re
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from jaxtyping import Bool, Float, Shaped

from sde_ct.data.bias_field import without_bias_field
from sde_ct.data.intensity import Percentiles, body_percentiles
from sde_ct.errors import InputError
from sde_ct.volumes.resample import resample_on
from sde_ct.volumes.slice_grid import SliceGrid, to_slices
from sde_ct.volumes.volume import Volume, reordered, same_grid

SINGLE = ("mr",)  # the contrasts of a data set whose records name none
LEAST = 0.9  # share of the body that each further contrast must cover


def file_name(contrast: str) -> str:
    """The name, without a suffix, under which a further contrast is stored."""
    return f"mr_{contrast}"


def names_of(patterns: Sequence[str]) -> tuple[str, ...]:
    """A name for each glob pattern: the first word of its last part, as in t2 for 'scans/t2*.nii'.

    Raises InputError if two patterns give the same name, or one gives no name.
    """
    words = [re.findall(r"[\w-]+", PurePath(pattern).name)[:1] for pattern in patterns]
    names = tuple(word for found in words for word in found)
    if len(set(names)) < len(patterns):
        raise InputError(
            f"--mr={' --mr='.join(patterns)}: give patterns that begin with different words, such "
            "as 't2*' and 't1*', which name the contrasts"
        )
    return names


def on_first(volume: Volume, first: Volume, name: str) -> tuple[Volume, Bool[np.ndarray, "x y z"]]:
    """A further contrast on the grid of the first, and a mask of the voxels that it covers.

    Axes are flipped and swapped as needed. If the grids differ, the volume is interpolated
    linearly, and voxels outside it get its lowest value. Errors call the volume `name`.
    """
    volume = reordered(volume, first.affine)
    if same_grid(volume, first):
        return volume, np.ones(first.array.shape, bool)
    ones = volume.with_array(np.ones(volume.array.shape, np.float32))
    there = resample_on(ones, first, fill=0.0).array > 0.5
    if not there.any():
        raise InputError(
            f"{name} does not overlap the first MR contrast: give images of one session"
        )
    return resample_on(volume, first, fill=float(volume.array.min())), there


def cut(
    volume: Volume, grid: SliceGrid, outline: Volume, name: str, *, n4: bool = False
) -> tuple[Float[np.ndarray, "z h w"], Percentiles]:
    """The slices (a.u.) of a further contrast, and its percentiles inside the body.

    Args:
      volume: the contrast, on any grid.
      grid: the grid of the first contrast's slices.
      outline: the body, on the first contrast's voxels.
      name: the name of the volume in errors.
      n4: correct its bias field inside the body first.

    Raises:
      InputError: the contrast covers less than `LEAST` of the body, or N4 cannot fit a field.
    """
    volume, there = on_first(volume, grid.frame, name)
    body = outline.array > 0
    if (share := float(there[body].mean())) < LEAST:
        raise InputError(
            f"{name} covers {100 * share:.0f} % of the body in the first MR contrast: give images "
            "that cover it"
        )
    if n4:
        volume = without_bias_field(volume, outline)
    slices = to_slices(volume, grid, fill=float(volume.array.min()))
    return slices, body_percentiles(volume.array, body)


def stacked(contrasts: Sequence[Shaped[np.ndarray, "n k h w"]]) -> Float[np.ndarray, "n h w c"]:
    """Slices whose channels are k neighbouring slices of each contrast, contrast by contrast."""
    return np.ascontiguousarray(np.moveaxis(np.concatenate(contrasts, axis=1), 1, -1))
