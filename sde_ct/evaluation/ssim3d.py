"""Structural similarity in three dimensions, at one and at several scales, as in SynthRAD.

The window is uniform, 7 x 7 x 7 voxels, with the sample (co)variance, and the mean is taken over
the body. Both volumes are clipped to [low, high], set to `low` outside the mask and shifted to
start at 0. The three outermost layers of voxels never count, because their windows would leave the
volume.
"""

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from skimage.metrics import structural_similarity

from sde_ct.errors import InputError
from sde_ct.evaluation.metrics import SSIM_K, SSIM_SIDE
from sde_ct.volumes.masks import CtVolume, Mask, as_mask

SIDE = SSIM_SIDE["uniform"]  # voxels along each side of the window
CROP = SIDE // 2  # voxels cropped from every face
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # weights of the scales, finest first
MS_SIDE = 97  # voxels; halving this four times, rounding up, leaves the 7 of the window


def ssim_3d(ct: CtVolume, sct: CtVolume, mask: Mask, low: float, high: float) -> float:
    """Mean 3D structural similarity over the mask, 1 for equal images.

    SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), C1 = (0.01 Q)²,
    C2 = (0.03 Q)², Q = high - low (Wang et al., IEEE TIP 13(4), 2004).

    Raises:
        InputError: an axis is shorter than the window, all voxels of the mask lie within `CROP` of
            the volume's faces, or `as_mask` refuses the mask.
    """
    mask = as_mask(mask, ct, prediction=sct)
    x, y = (_shifted(volume, mask, low, high) for volume in (ct, sct))
    box, inner = _window(mask)
    _, similarity = structural_similarity(
        x[box], y[box], win_size=SIDE, data_range=high - low,
        K1=SSIM_K[0], K2=SSIM_K[1], use_sample_covariance=True, full=True,
    )  # fmt: skip
    return float(_crop(similarity)[inner].mean())


def ms_ssim_3d(ct: CtVolume, sct: CtVolume, mask: Mask, low: float, high: float) -> float:
    """Multi-scale 3D structural similarity over the mask, 1 for equal images.

    MS-SSIM = Π_j mean_M(L^w_j C^w_j S^w_j) over five scales, every mean clipped to [0, 1]. Wang et
    al. (Asilomar Conf. 2003) use the luminance L at the coarsest scale alone; here, as in
    SynthRAD2025, L counts at every scale with the weight of this scale. Axes shorter than `MS_SIDE`
    are padded with their edge voxels, also in the mask, with the smaller half at the start.

    Raises:
        InputError: the mask has no voxel left at one of the scales, or `as_mask` refuses the mask.
    """
    mask = as_mask(mask, ct, prediction=sct)
    x, y = (_shifted(volume, mask, low, high) for volume in (ct, sct))
    short = [max(0, MS_SIDE - n) for n in mask.shape]
    x, y, mask = (np.pad(v, [(n // 2, n - n // 2) for n in short], "edge") for v in (x, y, mask))
    product = 1.0
    for scale, weight in enumerate(MS_WEIGHTS):
        if scale:
            x, y = _halved(x), _halved(y)
            mask = mask[::2, ::2, ::2]
        box, inner = _window(mask)
        similarity = _weighted(x[box], y[box], high - low, weight)
        product *= float(np.clip(_crop(similarity)[inner].mean(), 0, 1))
    return product


def _shifted(volume: CtVolume, mask: Mask, low: float, high: float) -> CtVolume:
    """Clip and shift to start at 0, because SSIM compares means as ratios, and water has 0 HU."""
    return np.where(mask, np.clip(volume, low, high).astype(np.float64) - low, 0.0)


def _window(mask: Mask) -> tuple[tuple[slice, ...], Mask]:
    """The part of a volume that determines the similarity, and its mask without a `CROP` margin."""
    inner = _crop(mask)
    if not inner.any():
        raise InputError(
            f"The mask has no voxel whose window of {SIDE} x {SIDE} x {SIDE} lies within the "
            f"volume, at this scale {' x '.join(map(str, mask.shape))} voxels: give a larger body "
            "or volume, or choose the protocol 'volume'."
        )
    (box,) = ndimage.find_objects(inner.astype(np.uint8))
    return tuple(slice(s.start, s.stop + 2 * CROP) for s in box), inner[box]


def _crop(volume: np.ndarray) -> np.ndarray:
    return volume[(slice(CROP, -CROP),) * 3]


def _halved(volume: CtVolume) -> CtVolume:
    """The mean of voxels i - 1 and i along each axis (zero outside), at every second voxel."""
    return ndimage.uniform_filter(volume, 2, mode="constant")[::2, ::2, ::2]


def _weighted(x: CtVolume, y: CtVolume, q: float, weight: float) -> Float[np.ndarray, "x y z"]:
    """(L C S)^w of every voxel. Negative factors and variances are set to 0."""

    def mean(volume: CtVolume) -> CtVolume:
        return ndimage.uniform_filter(volume, SIDE)

    sample = SIDE**3 / (SIDE**3 - 1)
    mx, my = mean(x), mean(y)
    vx = np.maximum(sample * (mean(x * x) - mx * mx), 0)
    vy = np.maximum(sample * (mean(y * y) - my * my), 0)
    covariance = sample * (mean(x * y) - mx * my)
    deviations = np.sqrt(vx * vy)
    c1, c2 = ((k * q) ** 2 for k in SSIM_K)
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    contrast = (2 * deviations + c2) / (vx + vy + c2)
    structure = (covariance + c2 / 2) / (deviations + c2 / 2)
    return (luminance * contrast * np.maximum(structure, 0)) ** weight
