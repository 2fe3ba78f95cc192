"""MR and CT of labelled tissue: contrast, blur, partial volume and noise.

Signals, not labels, are averaged over the samples of a voxel, so a voxel shared by two tissues
shows what a scanner would show.
"""

import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from sde_ct.lab.phantom.placing import Placement, waves
from sde_ct.lab.phantom.tissues import ADMIXTURE, INSERT_HU, Tissue, spin_echo, table

BLUR_MM = 1.0  # standard deviation of either scanner's in-plane point spread
CT_NOISE = 12.0  # HU
MR_NOISE = 0.008  # per receiver channel, in units of the signal of pure protons


def dominant(
    samples: UInt8[np.ndarray, "X Y Z"], factors: tuple[int, int, int]
) -> UInt8[np.ndarray, "x y z"]:
    """The tissue with the largest share of each voxel; AIR where the body fills less than half."""
    nx, ny, nz = (n // f for n, f in zip(samples.shape, factors, strict=True))
    voxel = np.arange(nx * ny).reshape(nx, ny).repeat(factors[0], 0).repeat(factors[1], 1)
    code = voxel[..., None] * len(Tissue)
    labels = np.empty((nx, ny, nz), dtype=np.uint8)
    for k in range(nz):  # slice by slice: the counts of a whole volume would not fit everywhere
        slab = samples[..., k * factors[2] : (k + 1) * factors[2]]
        counts = np.bincount((code + slab).ravel(), minlength=nx * ny * len(Tissue))
        counts = counts.reshape(nx, ny, len(Tissue))  # type: ignore[assignment]
        body = 2 * counts[..., Tissue.AIR] <= np.prod(factors)
        labels[..., k] = np.where(body, 1 + counts[..., 1:].argmax(axis=-1), Tissue.AIR)
    return labels


def ct_image(
    rng: np.random.Generator,
    samples: UInt8[np.ndarray, "x y z"],
    placement: Placement,
    *,
    bone_like: bool,
) -> Float[np.ndarray, "x y z"]:
    """CT in whole HU; the random numbers do not depend on the outcome of the ambiguous region."""
    hu, texture = table("hu"), table("hu_texture")
    hu[Tissue.INSERT] = INSERT_HU[bone_like]
    hu[Tissue.CORTEX] += rng.normal(0, 90)
    hu[[Tissue.CANCELLOUS, Tissue.FEMORAL_HEAD]] *= rng.uniform(0.8, 1.2)  # bone density
    # Minus: where a tissue holds more fat it is darker in CT and brighter in MR.
    image = _acquire(_textured(hu, -texture, samples, placement.texture), placement)
    noise = ndimage.gaussian_filter(rng.normal(size=image.shape), (0.4, 0.4, 0))
    image += CT_NOISE * noise / noise.std()
    return np.clip(np.rint(image), -1024, 3071).astype(np.float32)


def mr_image(
    rng: np.random.Generator,
    samples: UInt8[np.ndarray, "x y z"],
    placement: Placement,
    *,
    insert: float | None = None,
) -> Float[np.ndarray, "x y z"]:
    """T2-weighted spin echo in arbitrary units, with coil bias and Rician noise; never negative.

    Rician: √((S + n₁)² + n₂²), n Gaussian (Gudbjartsson & Patz, Magn Reson Med 34:910, 1995).

    Args:
      insert: signal of the ambiguous region in units of pure protons; None: its tissue's, none.
    """
    tr, te = rng.uniform(4000, 6500), rng.uniform(85, 105)  # ms
    contrast = spin_echo(table("t1"), table("t2"), table("pd"), tr=tr, te=te)
    if insert is not None:
        contrast[Tissue.INSERT] = insert
    texture = table("mr_texture") * contrast
    signal = _acquire(_textured(contrast, texture, samples, placement.texture), placement)
    signal *= _coil(rng, signal.shape, placement.affine)
    channels = MR_NOISE * rng.normal(size=(2, *signal.shape))
    gain = rng.uniform(1500, 4000)  # arbitrary units: every scan has its own
    return (gain * np.hypot(signal + channels[0], channels[1])).astype(np.float32)


def _textured(value, deviation, samples, texture) -> Float[np.ndarray, "x y z"]:
    """The value of each sample's tissue, with its admixture and its texture.

    Fat and muscle hold a log-normal fraction of each other, about 7 %.
    """
    other = np.arange(len(Tissue))
    other[list(ADMIXTURE)] = list(ADMIXTURE.values())
    fraction = np.minimum(0.07 * np.exp(0.8 * texture), 0.45)
    spread = (value[other] - value)[samples]
    return value[samples] + fraction * spread + deviation[samples] * texture


def _acquire(samples: np.ndarray, placement: Placement) -> Float[np.ndarray, "x y z"]:
    """Blur in the plane, then average over each voxel."""
    fx, fy, fz = placement.factors
    voxel = np.linalg.norm(placement.affine[:3, :3], axis=0)
    sigma = (*(BLUR_MM * f / s for f, s in zip((fx, fy), voxel, strict=False)), 0)
    blurred = ndimage.gaussian_filter(samples.astype(np.float32), sigma, truncate=3)
    # The mean along one axis at a time, as sums of strided views: several times faster than mean.
    for axis, factor in enumerate((fx, fy, fz)):
        steps = [slice(None)] * axis
        blurred = sum(blurred[(*steps, slice(i, None, factor))] for i in range(factor))
    return blurred / np.float32(fx * fy * fz)


def _coil(rng, shape, affine) -> Float[np.ndarray, "x y z"]:
    """Smooth receive sensitivity about 1: brighter near the surface coils, uneven by patient."""
    x, y, z = (
        (np.arange(n) - (n - 1) / 2) * s
        for n, s in zip(shape, np.linalg.norm(affine[:3, :3], axis=0), strict=True)
    )
    plane = np.meshgrid(x, y, indexing="ij")
    uneven = waves(rng, *plane, z, count=6, length=(300, 700))  # type: ignore[misc]
    bowl = (plane[0] / 200) ** 2 + (plane[1] / 140) ** 2  # 1 near the surface
    return np.exp(0.13 * uneven + rng.uniform(0, 0.25) * (bowl[..., None] - 0.5))
