"""MR and CT of labelled tissue: contrast, blur, partial volume and noise.

Signals, not labels, are averaged over the samples of a voxel, so that voxels of two tissues show
the partial-volume effect.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from sde_ct.lab.phantom.placing import Placement, waves
from sde_ct.lab.phantom.tissues import ADMIXTURE, INSERT_HU, Tissue, spin_echo, table

BLUR_MM = 1.0  # standard deviation of the in-plane point spread function, in MR and CT
CT_NOISE = 12.0  # HU


class Scanner(NamedTuple):
    """The properties of an MR scanner and its spin-echo protocol."""

    tr: tuple[float, float] = (4000, 6500)  # ms, the range over patients
    te: tuple[float, float] = (85, 105)  # ms
    noise: float = 0.008  # per receiver channel, in units of the signal of pure protons
    uneven: float = 0.13  # standard deviation of the logarithm of the coil sensitivity


# Scanner B has less T2 weighting, more noise and a less even coil.
SCANNERS = {"A": Scanner(), "B": Scanner((2400, 3200), (45, 60), noise=0.02, uneven=0.25)}
T1 = Scanner((500, 700), (8, 12))  # scanner A's T1-weighted protocol


def dominant(
    samples: UInt8[np.ndarray, "X Y Z"], factors: tuple[int, int, int]
) -> UInt8[np.ndarray, "x y z"]:
    """The body's commonest tissue in each voxel; AIR where the body fills less than half."""
    fx, fy, fz = factors
    nx, ny, nz = (n // f for n, f in zip(samples.shape, factors, strict=True))
    labels = np.empty((nx, ny, nz), dtype=np.uint8)
    for k in range(nz):  # one slice at a time: the counts of a large volume would not fit in memory
        slab = samples[..., k * fz : (k + 1) * fz].reshape(nx, fx, ny, fy, fz)
        counts = np.stack([(slab == tissue).sum(axis=(1, 3, 4)) for tissue in Tissue])
        body = 2 * counts[Tissue.AIR] <= fx * fy * fz
        labels[..., k] = np.where(body, 1 + counts[1:].argmax(axis=0), Tissue.AIR)
    return labels


def ct_image(
    rng: np.random.Generator,
    samples: UInt8[np.ndarray, "x y z"],
    placement: Placement,
    *,
    bone_like: bool,
) -> Float[np.ndarray, "x y z"]:
    """CT in whole HU. Its random numbers do not depend on the outcome of the ambiguous region."""
    hu, texture = table("hu"), table("hu_texture")
    hu[Tissue.INSERT] = INSERT_HU[bone_like]
    hu[Tissue.CORTEX] += rng.normal(0, 90)
    hu[[Tissue.CANCELLOUS, Tissue.FEMORAL_HEAD]] *= rng.uniform(0.8, 1.2)  # bone density
    # The minus sign makes tissue with more fat darker in CT and brighter in MR.
    image = _acquire(_textured(hu, -texture, samples, placement.texture), placement)
    noise = ndimage.gaussian_filter(rng.normal(size=image.shape), (0.4, 0.4, 0))
    image += CT_NOISE * noise / noise.std()
    return np.clip(np.rint(image), -1024, 3071).astype(np.float32)


def mr_image(
    rng: np.random.Generator,
    samples: UInt8[np.ndarray, "x y z"],
    placement: Placement,
    *,
    scanner: Scanner = SCANNERS["A"],
    insert: float | None = None,
) -> Float[np.ndarray, "x y z"]:
    """Spin echo (T2-weighted by default), a.u., with coil bias and Rician noise; never negative.

    Rician noise is √((S + n₁)² + n₂²) with Gaussian n (Gudbjartsson & Patz, Magn Reson Med 34:910,
    1995).

    Args:
      scanner: gives TR, TE, noise and coil.
      insert: signal of the ambiguous region relative to pure protons; None gives it no signal.
    """
    tr, te = rng.uniform(*scanner.tr), rng.uniform(*scanner.te)
    contrast = spin_echo(table("t1"), table("t2"), table("pd"), tr=tr, te=te)
    if insert is not None:
        contrast[Tissue.INSERT] = insert
    texture = table("mr_texture") * contrast
    signal = _acquire(_textured(contrast, texture, samples, placement.texture), placement)
    signal *= _coil(rng, signal.shape, placement.affine, scanner.uneven)
    channels = scanner.noise * rng.normal(size=(2, *signal.shape))
    gain = rng.uniform(1500, 4000)  # every scan has its own arbitrary units
    return (gain * np.hypot(signal + channels[0], channels[1])).astype(np.float32)


def _textured(value, deviation, samples, texture) -> Float[np.ndarray, "x y z"]:
    """The value of each sample's tissue with its admixture and texture.

    Fat and muscle contain a log-normal share of each other, about 7 %.
    """
    other = np.arange(len(Tissue))
    other[list(ADMIXTURE)] = list(ADMIXTURE.values())
    fraction = np.minimum(0.07 * np.exp(0.8 * texture), 0.45)
    spread = (value[other] - value)[samples]
    return value[samples] + fraction * spread + deviation[samples] * texture


def _acquire(samples: np.ndarray, placement: Placement) -> Float[np.ndarray, "x y z"]:
    """Blur in the axial plane, then average over each voxel."""
    fx, fy, fz = placement.factors
    voxel = np.linalg.norm(placement.affine[:3, :3], axis=0)
    sigma = (*(BLUR_MM * f / s for f, s in zip((fx, fy), voxel, strict=False)), 0)
    blurred = ndimage.gaussian_filter(samples.astype(np.float32), sigma, truncate=3)
    # Sums of strided views, one axis at a time, are several times faster than a mean.
    for axis, factor in enumerate((fx, fy, fz)):
        steps = [slice(None)] * axis
        blurred = sum(blurred[(*steps, slice(i, None, factor))] for i in range(factor))
    return blurred / np.float32(fx * fy * fz)


def _coil(rng, shape, affine, deviation) -> Float[np.ndarray, "x y z"]:
    """Smooth sensitivity around 1: higher near the surface coils, and different in each patient."""
    x, y, z = (
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(shape, np.linalg.norm(affine[:3, :3], axis=0), strict=True)
    )
    plane = np.meshgrid(x, y, indexing="ij")
    uneven = waves(rng, *plane, z, count=6, length=(300, 700))  # type: ignore[misc]
    bowl = (plane[0] / 200) ** 2 + (plane[1] / 140) ** 2  # 1 near the surface
    return np.exp(deviation * uneven + rng.uniform(0, 0.25) * (bowl[..., None] - 0.5))
