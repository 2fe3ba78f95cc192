"""Convert between a volume and the axial slices that a network sees.

A volume is first turned upright (to RAS+, by flipping and swapping axes only), transposed to [z, y,
x] and mapped in plane onto the pixels of the slices. For each in-plane axis, `SliceGrid` records
the map

    voxel index = scale · pixel index + offset,

so that the volume can be restored from the slices and the grid. Nothing is interpolated along z.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy import ndimage

from sde_ct.errors import InputError
from sde_ct.storage.records import Count, Limit, Positive, built
from sde_ct.volumes.resample import interpolate
from sde_ct.volumes.volume import Unit, Volume, canonical, restore

Triple = tuple[Count, Count, Count]
Pair = tuple[float, float]
Row = tuple[float, float, float, float]
Affine = Annotated[
    tuple[Row, Row, Row, Row], Limit(lambda rows: np.linalg.det(rows) != 0, "an affine of voxels")
]
LARGEST = 4096  # pixels along a side of a slice


@dataclass(frozen=True)
class SliceGrid:
    """The position of slices in the volume from which they were cut."""

    shape: Triple  # shape of the volume, in its own order of axes
    affine: Affine  # of the volume
    size: Triple  # size of the slices [z, h, w]
    scale: tuple[Positive, Positive]  # (y, x) voxels per pixel
    offset: Pair  # (y, x) voxel index of pixel 0
    space: int = 1  # space of the volume, see `Volume`

    @property
    def frame(self) -> Volume:
        """A mask of zeros with the shape and position of the volume."""
        nothing = np.broadcast_to(np.uint8(0), self.shape)
        return Volume(nothing, np.array(self.affine), "mask", self.space)

    @property
    def pixel_mm(self) -> Pair:
        """Size of a pixel (y, x), mm."""
        voxel = canonical(self.frame).spacing
        return float(self.scale[0] * voxel[1]), float(self.scale[1] * voxel[0])

    @property
    def slice_mm(self) -> float:
        """Distance between neighbouring slices, mm."""
        return float(canonical(self.frame).spacing[2])

    def to_json(self) -> dict[str, Any]:
        """Plain values from which `from_json` restores the grid without loss."""
        values = asdict(self)
        if self.space == 1:
            del values["space"]  # older records do not have this field
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SliceGrid":
        """The grid from `to_json`. Raises ValueError if `values` describes no grid."""
        return built(cls, values)


def slice_grid(
    volume: Volume,
    *,
    spacing: Pair | None = None,
    size: tuple[int, int] | None = None,
    multiple: int = 1,
    crop: bool = False,
    centre: Pair | None = None,
) -> SliceGrid:
    """Plan the slices of a volume.

    Args:
      volume: any orientation; only its shape and affine are read.
      spacing: in-plane pixel size (y, x) in mm; None keeps the volume's own.
      size: (h, w) of the slices; None makes them as large as the volume.
      multiple: h and w are padded to a multiple of this number.
      crop: cut slices to `size` about their centre. If false, `size` is a lower bound, and nothing
        is cut unless `centre` shifts the slices.
      centre: (y, x) voxel index in the upright volume. The slices are shifted by whole pixels to
        bring their centre as near to this index as possible. None is the volume's centre.

    Raises:
      InputError: a side of the slices would have more than `LARGEST` pixels.
    """
    upright = canonical(volume)
    depth, native = upright.array.shape[2], upright.array.shape[1::-1]
    voxel = tuple(float(v) for v in upright.spacing[1::-1])
    scale = tuple(s / v for s, v in zip(spacing or voxel, voxel, strict=True))
    # Rounding in a file header must not cause interpolation.
    scale = tuple(1.0 if abs(s - 1.0) < 1e-4 else s for s in scale)
    plane, offset = [], []
    for axis in range(2):
        # The pixels must cover every voxel, but rounding in a header must not add one.
        cover = max(1, int(np.ceil(native[axis] / scale[axis] - 1e-3)))
        wanted = cover if size is None else (size[axis] if crop else max(size[axis], cover))
        wanted = -(-wanted // multiple) * multiple
        before = (wanted - cover) // 2  # negative if the slice is cut
        first = (native[axis] - 1 - scale[axis] * (cover - 1)) / 2  # so that both centres coincide
        plane.append(wanted)
        offset.append(first - scale[axis] * before)
        if centre is not None:
            shift = centre[axis] - offset[axis] - scale[axis] * (wanted - 1) / 2
            offset[axis] += round(shift / scale[axis]) * scale[axis]
    if max(plane) > LARGEST:
        raise InputError(
            f"Slices of {plane[0]} x {plane[1]} pixels are too large: give a coarser spacing or a "
            f"smaller size, of at most {LARGEST} pixels."
        )
    return SliceGrid(
        shape=tuple(int(n) for n in volume.array.shape),  # type: ignore[arg-type]
        affine=tuple(map(tuple, volume.affine.tolist())),  # type: ignore[arg-type]
        size=(depth, *plane),
        scale=scale,  # type: ignore[arg-type]
        offset=tuple(offset),
        space=volume.space,
    )


def to_slices(volume: Volume, grid: SliceGrid, *, fill: float = 0.0) -> Float[np.ndarray, "z h w"]:
    """Cut `volume` into the axial slices of `grid`, float32; coarser pixels are antialiased.

    Pixels outside the volume become `fill`. The volume must have the grid's shape and affine.
    """
    upright = np.asarray(canonical(volume).array).transpose(2, 1, 0)
    return _resample(upright, grid.scale, grid.offset, grid.size[1:], fill)


def from_slices(
    slices: Shaped[np.ndarray, "z h w"],
    grid: SliceGrid,
    *,
    unit: Unit = "HU",
    fill: float = -1024.0,
) -> Volume:
    """Put slices back onto the grid of the volume from which they were cut.

    The result is exact if the slices have the volume's own spacing, and interpolated otherwise.
    Voxels beyond the edges of cropped slices become `fill` (by default, air in HU).
    """
    if slices.shape != grid.size:
        raise ValueError(f"slices of shape {slices.shape} do not fit a grid of {grid.size}")
    upright = canonical(grid.frame)
    scale = tuple(1.0 / s for s in grid.scale)
    offset = tuple(-o / s for o, s in zip(grid.offset, grid.scale, strict=True))
    plane = upright.array.shape[1::-1]
    first = tuple(map(int, offset))
    held = all(0 <= o <= n - p for o, n, p in zip(first, slices.shape[1:], plane, strict=True))
    if scale == (1.0, 1.0) and offset == first and held:
        # Not copied, because ten draws of a large volume take a gigabyte.
        inside = (slice(o, o + p) for o, p in zip(first, plane, strict=True))
        array = np.asarray(slices, np.float32)[:, *inside]
    else:
        array = _resample(slices, scale, offset, plane, fill)  # type: ignore[arg-type]
    return restore(Volume(array.transpose(2, 1, 0), upright.affine, unit), grid.frame)


def _resample(
    stack: Shaped[np.ndarray, "z a b"],
    scale: Pair,
    offset: Pair,
    plane: tuple[int, int],
    fill: float,
) -> Float[np.ndarray, "z c d"]:
    """Sample each slice at scale · index + offset; positions outside the slice get `fill`."""
    stack = np.asarray(stack, np.float32)
    # As in scikit-image, a Gaussian damps frequencies above the coarser grid's Nyquist frequency.
    sigma = [0.0, *(max(0.0, (s - 1.0) / 2.0) for s in scale)]
    if any(sigma):
        stack = ndimage.gaussian_filter(stack, sigma, mode="nearest")
    shape = (stack.shape[0], *plane)
    return interpolate(stack, np.array([1.0, *scale]), np.array([0.0, *offset]), shape, fill)
