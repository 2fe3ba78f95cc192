"""The positions of a phantom patient in the scanner and of every sample in the anatomy."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from sde_ct.lab.phantom.shapes import Grid

SAMPLE_MM = (1.5, 1.5, 5.0)  # intended distance between the samples within a voxel
MOST_SAMPLES = 3  # per voxel and axis
ABOVE_HEADS, BEHIND_HEADS = 8.0, 16.0  # mm from the femoral heads to the centre of the volume
WARP_MM = 2.2  # standard deviation of the individual deformation


class Placement(NamedTuple):
    """The voxel grid, and the finer grid of samples that are averaged to voxels."""

    affine: Float[np.ndarray, "4 4"]  # voxel index to RAS+ mm
    factors: tuple[int, int, int]  # samples per voxel along each axis
    grid: Grid  # anatomical position of the samples, in the average patient's millimetres
    texture: Float[np.ndarray, "x y z"]  # texture of the tissue at each sample, with unit variance


def place(rng: np.random.Generator, shape, spacing, scale) -> Placement:
    """Place a patient of the given anatomical `scale` (x, y, z) in a scan.

    The scan is oblique by up to 4 degrees about each axis. Its centre lies up to 40 mm from the
    origin along each axis, and its voxel size is within 2 % of `spacing` (mm). As in a planned
    scan, the slices follow the anatomy: in the axial plane the patient is turned by up to 3 degrees
    and shifted by up to 5 mm along each axis. Along z the shift is a few millimetres.
    """
    voxel = np.array(spacing) * (1 + rng.uniform(-0.02, 0.02, 2))[[0, 0, 1]]
    wanted = np.ceil(np.array(spacing) / SAMPLE_MM)
    factors = tuple(int(n) for n in np.clip(wanted, 1, MOST_SAMPLES))
    x, y, z = _axial_plane(rng, shape, voxel, factors)
    z /= np.float32(scale[2])
    bend = [waves(rng, x, y, z, count=12, length=(110, 350)) for _ in range(2)]
    texture = waves(rng, x, y, z, count=48, length=(9, 45))
    grid = Grid(
        (x[..., None] + WARP_MM * bend[0]) / np.float32(scale[0]),
        (y[..., None] + WARP_MM * bend[1]) / np.float32(scale[1]),
        z,
    )
    return Placement(_affine(rng, shape, voxel), factors, grid, texture)  # type: ignore[arg-type]


def _axial_plane(rng, shape, voxel, factors):
    """Positions of the samples in mm: x, y [nx, ny] turned with the patient, and z [nz]."""
    gx, gy, gz = (
        ((np.arange(n * f) + 0.5) / f - n / 2) * size
        for n, f, size in zip(shape, factors, voxel, strict=True)
    )
    angle = np.radians(rng.uniform(-3, 3))
    gx, gy = gx - rng.uniform(-5, 5), gy - rng.uniform(-5, 5)
    x = gx[:, None] * np.cos(angle) - gy * np.sin(angle)
    y = gx[:, None] * np.sin(angle) + gy * np.cos(angle) - BEHIND_HEADS
    z = gz + ABOVE_HEADS + rng.normal(0, 3)
    return x.astype(np.float32), y.astype(np.float32), z.astype(np.float32)


def _affine(rng, shape, voxel) -> Float[np.ndarray, "4 4"]:
    affine = np.eye(4)
    affine[:3, :3] = _rotation(rng.uniform(-4, 4, 3)) * voxel
    affine[:3, 3] = rng.uniform(-40, 40, 3) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _rotation(degrees: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rotations about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def waves(rng, x, y, z, *, count: int, length) -> Float[np.ndarray, "x y z"]:
    """A smooth random field of unit variance, the sum of `count` plane waves.

    Args:
      x, y: [x, y] positions in the plane, mm; z: [z] positions of the slices, mm.
      length: least and greatest wavelength, mm.
    """
    direction = rng.normal(size=(3, count))
    direction /= np.linalg.norm(direction, axis=0)
    kx, ky, kz = (2 * np.pi * direction / rng.uniform(*length, count)).astype(np.float32)
    across = x[..., None] * kx + y[..., None] * ky
    across += rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    along = z * kz[:, None]
    # cos(a + b) = cos a cos b - sin a sin b turns the sum over waves into two matrix products.
    total = np.cos(across) @ np.cos(along) - np.sin(across) @ np.sin(along)
    return total * np.float32(np.sqrt(2 / count))
