"""Image similarity between a synthetic and the real CT.

Volumes are [x, y, z] in HU with axial slices along z; the mask says which voxels count. Every
function refuses, with an `InputError`, arrays of different shape, an empty mask and non-finite
voxels inside the mask.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage, stats
from skimage.metrics import structural_similarity

from sde_ct.errors import InputError
from sde_ct.volumes.masks import CtVolume, Mask, as_mask, tissues

LARGE_ERROR = 300.0  # HU: bone taken for soft tissue, or soft tissue for gas

SsimWindow = Literal["uniform", "gaussian"]
SSIM_SIDE = {"uniform": 7, "gaussian": 11}  # voxels along each side of the window
SSIM_K = (0.01, 0.03)  # Wang et al.'s K1 and K2
DETAIL_SIGMA = 1.0  # voxels
DETAIL_WINDOW = (-1000.0, 2000.0)  # HU, so that a metal implant does not decide the ratio


class TissueError(NamedTuple):
    """An error by tissue, HU; NaN where the mask holds no such voxel."""

    air: float
    soft: float
    bone: float


def _errors(ct: CtVolume, sct: CtVolume, mask: Mask) -> Float[np.ndarray, " n"]:
    mask = as_mask(mask, ct, prediction=sct)
    return sct[mask].astype(np.float64) - ct[mask]


def mae(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Mean absolute error over the mask, HU, nothing clipped."""
    return float(np.abs(_errors(ct, sct, mask)).mean())


def mean_error(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Mean of prediction - reference over the mask, HU: below 0 is too little density."""
    return float(_errors(ct, sct, mask).mean())


def tissue_mae(ct: CtVolume, sct: CtVolume, mask: Mask) -> TissueError:
    """`mae` over the mask's air, soft tissue and bone, told apart by the *reference* CT."""
    return _by_tissue(np.abs(_errors(ct, sct, mask)), ct, mask)


def tissue_mean_error(ct: CtVolume, sct: CtVolume, mask: Mask) -> TissueError:
    """`mean_error` over the same tissues: bone too soft and gas too dense are apart here."""
    return _by_tissue(_errors(ct, sct, mask), ct, mask)


def _by_tissue(error: Float[np.ndarray, " n"], ct: CtVolume, mask: Mask) -> TissueError:
    chosen = tissues(ct[np.asarray(mask) > 0]).values()
    return TissueError(*(float(error[t].mean()) if t.any() else float("nan") for t in chosen))


def large_error_share(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Share of the mask's voxels that are wrong by more than `LARGE_ERROR` HU, 0 to 1."""
    return float((np.abs(_errors(ct, sct, mask)) > LARGE_ERROR).mean())


def histogram_distance(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """How far the HU over the mask must move to have the real CT's histogram, mean HU.

    The Wasserstein distance of the two distributions, wherever in the body their voxels lie: a CT
    of the right HU in the wrong places has 0 here and a large `mae`, which it never exceeds.
    """
    mask = as_mask(mask, ct, prediction=sct)
    return float(stats.wasserstein_distance(ct[mask].astype(np.float64), sct[mask]))


def through_plane(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Change from slice to slice against that of the real CT: above 1, slices do not fit together.

    The ratio of Σ|v(z + 1) - v(z)| over neighbours within the mask, v clipped to `DETAIL_WINDOW`.
    Networks that see one slice at a time flicker. NaN where the mask has no neighbouring slices or
    the real CT does not change.
    """
    mask = as_mask(mask, ct, prediction=sct)
    both = mask[..., 1:] & mask[..., :-1]

    def change(volume: CtVolume) -> float:
        clipped = np.where(mask, np.clip(volume, *DETAIL_WINDOW), 0).astype(np.float64)
        return float(np.abs(np.diff(clipped, axis=-1))[both].sum())

    real = change(ct)
    return change(sct) / real if real > 0 else float("nan")


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
    C2 = (0.03 Q)² for data range Q, from a 7 x 7 uniform window with the sample (co)variance, or
    from Wang's 11 x 11 Gaussian window (σ = 1.5) with the population's. Slices are mirrored at
    their borders. Values must start at 0, as light does.
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
        ct.astype(np.float64),
        sct.astype(np.float64),
        data_range=data_range,
        K1=SSIM_K[0],
        K2=SSIM_K[1],
        channel_axis=-1,  # one slice, one channel: nothing crosses slices
        full=True,
        **form,
    )
    return similarity


def ssim_slices(
    ct: CtVolume,
    sct: CtVolume,
    mask: Mask,
    low: float,
    high: float,
    window: SsimWindow = "uniform",
) -> float:
    """Mean structural similarity of axial slices over the mask, 1 for equal images.

    Both volumes are clipped to [low, high] and set to `low` outside the mask, so that couch and
    background cannot help, and shifted to [0, Q], Q = high - low: SSIM's luminance term compares
    means as ratios and would make nonsense of HU, whose water is 0. The map's mean over the mask.
    """
    mask = as_mask(mask, ct, prediction=sct)
    kept = mask.any(axis=(0, 1))
    inside = mask[..., kept]
    pair = (np.where(inside, np.clip(v[..., kept], low, high) - low, 0.0) for v in (ct, sct))
    return float(ssim_map(*pair, high - low, window)[inside].mean())  # type: ignore[arg-type, call-arg]


def detail_ratio(ct: CtVolume, sct: CtVolume, mask: Mask) -> float:
    """Fine detail of the prediction against that of the real CT: below 1 is too smooth.

    The ratio of Σ (v - G v)² over the mask, G the in-plane Gaussian of `DETAIL_SIGMA` voxels, v
    clipped to `DETAIL_WINDOW`: the energy left above the Gaussian's cut-off. Three voxels are
    peeled off the mask first, or the skin, the same in all predictions, would outweigh the
    anatomy. NaN where nothing is left of the mask or the real CT has no detail.
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
