"""Require that a volume lies on the grid of another."""

from pathlib import Path

from sde_ct.errors import InputError
from sde_ct.volumes.files import read_volume
from sde_ct.volumes.volume import Unit, Volume, reordered, same_grid


def read_on_grid(path: Path, unit: Unit, like: Volume, reference: Path | str) -> Volume:
    """Read a volume, and return `on_grid` of it. Raises InputError as both functions do."""
    return on_grid(path, read_volume(path, unit), like, reference)


def on_grid(path: Path, volume: Volume, like: Volume, reference: Path | str) -> Volume:
    """The volume with its voxels in the order of `like`. Raises InputError if the grids differ.

    In the error, `path` is the name of the volume, and `reference` is that of `like`.
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
