"""Image similarity between a synthetic and the real CT.

Volumes are [x, y, z] in HU with axial slices along z; only voxels inside the mask count. Functions
with a mask raise an `InputError` for arrays of different shape, an empty mask and voxels inside the
mask that are not finite.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from sde_ct.errors import InputError
from sde_ct.uncertainty.sums import CHANGE_WINDOW, slice_change
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

LARGE_ERROR = 300.0  # HU, as when bone is taken for soft tissue, or soft tissue for gas

SsimWindow = Literal["uniform", "gaussian"]
SSIM_SIDE = {"uniform": 7, "gaussian": 11}  # voxels along each side of the window
SSIM_K = (0.01, 0.03)  # Wang et al.'s K1 and K2
DETAIL_SIGMA = 1.0  # voxels
DETAIL_WINDOW = CHANGE_WINDOW


def _errors(
    ct: CtVolume, sct: CtVolume, mask: Mask, tissue: str | None = None
) -> Float[np.ndarray, " n"]:
    mask = as_mask(mask, ct, prediction=sct)
    error = sct[mask].astype(np.float64) - ct[mask]
    return error if tissue is None else error[tissues(ct[mask])[tissue]]


def mae(ct: CtVolume, sct: CtVolume, mask: Mask, tissue: str | None = None) -> float:
    """Mean absolute error over the mask, HU, without clipping.

    Args:
        tissue: "air", "soft" or "bone" restricts the mean to voxels of this tissue in the
            *reference* CT. The result is NaN if there are none.
    """
    error = np.abs(_errors(ct, sct, mask, tissue))
    return float(error.mean()) if error.size else float("nan")


def mean_error(ct: CtVolume, sct: CtVolume, mask: Mask, tissue: str | None = None) -> float:
    """Mean of prediction - reference, HU; negative if the prediction is not dense enough.

    `tissue` has the same meaning as for `mae`. Within one tissue, bone that is not dense enough
    cannot cancel gas that is too dense.
    """
    error = _errors(ct, sct, mask, tissue)
    return float(error.mean()) if error.size else float("nan")


def large_error_share(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Share of the mask's voxels that are wrong by more than `LARGE_ERROR` HU, 0 to 1."""
    return float((np.abs(_errors(ct, sct, mask)) > LARGE_ERROR).mean())


def histogram_distance(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Wasserstein distance of the two distributions of HU over the mask, HU.

    This distance is the least mean |change| in HU that gives the prediction the CT's histogram.
    It is never larger than the `mae`. A CT with the right HU in the wrong places has a distance of
    0 and a large `mae`.
    """
    mask = as_mask(mask, ct, prediction=sct)
    return float(stats.wasserstein_distance(ct[mask].astype(np.float64), sct[mask]))


def through_plane(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Change from slice to slice relative to the real CT; above 1, slices are inconsistent.

    The result is the ratio of Σ|v(z + 1) - v(z)| over neighbours within the mask, with v clipped to
    `DETAIL_WINDOW`. It is large for networks that see single slices. It is NaN if the mask has no
    neighbouring slices or the real CT does not change.
    """
    mask = as_mask(mask, ct, prediction=sct)
    return slice_change([sct], ct, mask)


def detail_ratio(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Fine detail of the prediction relative to the real CT; below 1 it is too smooth.

    The result is the ratio of Σ (v - G v)² over the mask, where G is the in-plane Gaussian of
    `DETAIL_SIGMA` voxels and v is clipped to `DETAIL_WINDOW`. The outer three voxels of the mask in
    plane do not count, because the skin, which is alike in all predictions, would outweigh the
    anatomy. The result is NaN if no voxel of the mask remains or the real CT has no detail.
    """
    mask = as_mask(mask, ct, prediction=sct)
    cross = ndimage.generate_binary_structure(2, 1)[..., None]
    inside = ndimage.binary_erosion(mask, cross, iterations=3)

    def energy(volume: CtVolume) -> float:
        clipped = np.where(mask, np.clip(volume, *DETAIL_WINDOW), DETAIL_WINDOW[0])
        clipped = clipped.astype(np.float64)
        smooth = ndimage.gaussian_filter(clipped, DETAIL_SIGMA, axes=(0, 1))
        return float(np.square(clipped - smooth)[inside].sum())

    real = energy(ct)
    return energy(sct) / real if real > 0 else float("nan")


def psnr(ct: CtVolume, sct: CtVolume, mask: Mask, low: float, high: float) -> float:
    """Peak signal-to-noise ratio over the mask, dB; infinite for equal images.

    PSNR = 10 log10(Q² / MSE) with Q = high - low, after both volumes are clipped to [low, high].
    """
    mse = np.square(_errors(np.clip(ct, low, high), np.clip(sct, low, high), mask)).mean()
    return float(10 * np.log10((high - low) ** 2 / mse)) if mse > 0 else float("inf")


def ssim_map(
    ct: CtVolume, sct: CtVolume, data_range: float, window: SsimWindow = "uniform"
) -> Float[np.ndarray, "x y z"]:
    """Structural similarity of every voxel in its axial slice (Wang et al., IEEE TIP 13(4), 2004).

    SSIM = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), C1 = (0.01 Q)² and
    C2 = (0.03 Q)² for data range Q, with a 7 x 7 uniform window and the sample (co)variance, or
    with Wang's 11 x 11 Gaussian window (σ = 1.5) and the population's. Slices are mirrored at
    their borders. Values must start at 0, because SSIM compares means as ratios.
    """
    side = SSIM_SIDE[window]
    if min(ct.shape[:2]) < side:
        raise InputError(
            f"Slices of {ct.shape[0]} x {ct.shape[1]} voxels are smaller than the SSIM window of "
            f"{side} x {side}: give larger slices."
        )
    form = (
        {"win_size": side, "use_sample_covariance": True}
        if window == "uniform"
        else {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    )
    _, similarity = structural_similarity(
        ct.astype(np.float64), sct.astype(np.float64), data_range=data_range,
        # Each slice is a channel, so that slices are not mixed.
        K1=SSIM_K[0], K2=SSIM_K[1], channel_axis=-1,
        full=True, **form,
    )  # fmt: skip
    return similarity


def ssim_slices(
    ct: CtVolume, sct: CtVolume, mask: Mask, low: float, high: float, window: SsimWindow = "uniform"
) -> float:
    """Mean structural similarity of axial slices over the mask, 1 for equal images.

    Both volumes are clipped to [low, high], set to `low` outside the mask, so that couch and
    background cannot help, and shifted to start at 0. The result is the mean of `ssim_map` over
    the mask.
    """
    mask = as_mask(mask, ct, prediction=sct)
    kept = mask.any(axis=(0, 1))
    inside = mask[..., kept]
    x, y = (np.where(inside, np.clip(v[..., kept], low, high) - low, 0.0) for v in (ct, sct))
    return float(ssim_map(x, y, high - low, window)[inside].mean())
