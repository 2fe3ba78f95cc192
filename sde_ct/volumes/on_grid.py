"""Volumes that must lie on the grid of another one."""

from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Unit, Volume, reordered, same_grid


def read_on_grid(path: Path, unit: Unit, like: Volume, reference: Path) -> Volume:
    """A volume in a file, as `on_grid` gives it. Raises InputError as `read_volume` too."""
    return on_grid(path, read_volume(path, unit), like, reference)


def on_grid(path: Path, volume: Volume, like: Volume, reference: Path) -> Volume:
    """A volume in the order of the voxels of `like`.

    Args:
      path, reference: the files of both, for the message.

    Raises:
      InputError: the grids differ.
    """
    volume = reordered(volume, like.affine)
    if not same_grid(volume, like):
        raise InputError(
            f"{path} ({_grid(volume)}) lies on another grid than {reference} ({_grid(like)}): "
            "resample one onto the other."
        )
    return volume


def _grid(volume: Volume) -> str:
    shape = " x ".join(map(str, volume.array.shape))
    spacing = " x ".join(f"{step:.4g}" for step in volume.spacing)
    origin = ", ".join(f"{x:.4g}" for x in volume.affine[:3, 3])
    return f"{shape} voxels of {spacing} mm at {origin}"
