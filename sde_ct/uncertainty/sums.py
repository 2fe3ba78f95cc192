"""Scores that test the joint distribution of the voxels of a draw, not only each voxel's own.

Draws may have the right spread in every voxel while the spread of a sum over voxels is far too
small, for example if slices are drawn independently. Range, dose and the mean HU of a structure are
such sums.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from sde_ct.errors import InputError
from sde_ct.uncertainty.draws import moments, require_draws
from sde_ct.uncertainty.scores import Draws, Voxels, spread_skill
from sde_ct.volumes.masks import CtVolume, Mask, as_mask

CHANGE_WINDOW = (-1000.0, 2000.0)  # HU; clipped so that a metal implant does not dominate a ratio
PAIRS, REACH, SEED = 100_000, 4, 0  # of `voxel_pairs`

Volumes = Sequence[CtVolume] | Float[np.ndarray, "m x y z"]
Pairs = Int[np.ndarray, "2 pairs"]  # of positions among the voxels that count


class Sums(NamedTuple):
    """The scores of one patient's draws over the body.

    Attributes:
        along_x, along_y, along_z: spread over error of the mean HU of lines along this axis of the
            array, see `line_spread_skill`; 1 is right, and below 1 the draws are overconfident.
        slice_change: change from slice to slice relative to the real CT; 1 is right.
        energy: `energy_score`, HU; lower is better.
        variogram: `variogram_score` of order 0.5, HU; lower is better.
    """

    along_x: float
    along_y: float
    along_z: float
    slice_change: float
    energy: float
    variogram: float


def judge_sums(draws: Volumes, ct: CtVolume, mask: Mask) -> Sums:
    """Score the sums of one patient's draws.

    Args:
        draws: M >= 2 synthetic CTs, HU.
        ct: the real CT, HU.
        mask: above 0 where a voxel counts.

    Raises:
        InputError: fewer than 2 draws, no two voxels of the mask are close to each other, or
            `as_mask` refuses the mask.
    """
    require_draws(len(draws))
    mask = as_mask(mask, ct, **{f"draw {i}": draw for i, draw in enumerate(draws)})
    voxels, real = np.stack([draw[mask] for draw in draws]), ct[mask]
    return Sums(
        along_x=line_spread_skill(draws, ct, mask, 0),
        along_y=line_spread_skill(draws, ct, mask, 1),
        along_z=line_spread_skill(draws, ct, mask, 2),
        slice_change=slice_change(draws, ct, mask),
        energy=energy_score(voxels, real),
        variogram=variogram_score(voxels, real, voxel_pairs(mask)),
    )


def line_spread_skill(
    draws: Volumes, ct: CtVolume, mask: Bool[np.ndarray, "x y z"], axis: int
) -> float:
    """Spread over error of the mean HU of lines of voxels along one axis of the array.

    The mean HU is taken over the voxels of the line that are in the mask. Only lines with at least
    half as many of them as the longest line count, because a short line is hardly a sum. The
    result is `scores.spread_skill` over these lines. Errors of neighbouring lines are correlated,
    so the results of single patients scatter, more upwards than downwards: use their median.
    """
    voxels = mask.sum(axis)
    kept = 2 * voxels >= voxels.max()

    def means(volume: CtVolume) -> Float[np.ndarray, " lines"]:
        return volume.sum(axis, where=mask, dtype=np.float64)[kept] / voxels[kept]

    mean, variance = moments([means(draw) for draw in draws])
    return spread_skill(np.sqrt(variance), mean - means(ct), len(draws))


def change_along_z(volume: CtVolume, mask: Bool[np.ndarray, "x y z"]) -> float:
    """Σ|v(z + 1) - v(z)| over neighbours within the mask, HU, with v clipped to `CHANGE_WINDOW`."""
    clipped = np.where(mask, np.clip(volume, *CHANGE_WINDOW), 0).astype(np.float64)
    both = mask[..., 1:] & mask[..., :-1]
    return float(np.abs(np.diff(clipped, axis=-1))[both].sum())


def slice_change(draws: Volumes, ct: CtVolume, mask: Bool[np.ndarray, "x y z"]) -> float:
    """`change_along_z` of one draw over that of the real CT, averaged over draws.

    Above 1 the draws flicker from slice to slice, below 1 they are too smooth along z. The mean of
    several draws is smoother than a CT, so only single draws can be right. The result is NaN if
    the mask has no neighbouring slices or the real CT does not change.
    """
    real = change_along_z(ct, mask)
    changes = [change_along_z(draw, mask) for draw in draws]
    return float(np.mean(changes)) / real if real > 0 else float("nan")


def energy_score(draws: Draws, ct: Voxels) -> float:
    """The energy score of n voxels together, HU, unbiased in the number of draws; lower is better.

    ES = [(1/M) Σ‖x_i - y‖ - 1/(2 M (M-1)) ΣΣ‖x_i - x_j‖] / √n (Gneiting & Raftery, J. Am. Stat.
    Assoc. 102, 2007; made fair like the CRPS of Ferro, Q. J. R. Meteorol. Soc. 140, 2014). Its
    expectation is lowest for draws from the law of the CT. The division by √n gives HU per voxel:
    for one voxel it is `scores.fair_crps`, and draws that all agree score their root mean square
    error. If most of the error is independent between voxels, the energy score says little about
    how voxels vary together, and `variogram_score` says more.
    """
    m = len(draws)
    require_draws(m)

    def distance(a: Voxels, b: Voxels) -> float:
        return float(np.linalg.norm(a.astype(np.float64) - b))

    accuracy = sum(distance(draw, ct) for draw in draws) / m
    # Every pair is in the double sum twice.
    sharpness = sum(distance(a, b) for a, b in combinations(draws, 2)) / (m * (m - 1))
    return float((accuracy - sharpness) / np.sqrt(ct.size))


def voxel_pairs(
    mask: Bool[np.ndarray, "x y z"], *, pairs: int = PAIRS, reach: int = REACH, seed: int = SEED
) -> Pairs:
    """A random sample of pairs of close voxels of the mask; the same mask gives the same pairs.

    The first voxel is uniform in the mask. The second lies 1 to `reach` voxels away along x, y or
    z, with equal probability. Far pairs are left out, because their differences say little about
    the joint law and are noisy (Scheuerer & Hamill give them low weights). Of `pairs` trials,
    those whose second voxel is outside the mask are dropped.

    Raises InputError if no pair is left.
    """
    rng = np.random.default_rng(seed)
    flat = np.flatnonzero(mask)
    first = rng.integers(flat.size, size=pairs)
    second = np.stack(np.unravel_index(flat[first], mask.shape))
    second[rng.integers(3, size=pairs), np.arange(pairs)] += rng.integers(1, reach + 1, pairs)
    kept = (second < np.array(mask.shape)[:, None]).all(axis=0)
    kept[kept] = mask[tuple(second[:, kept])]
    if not kept.any():
        raise InputError(
            f"No two voxels of the mask lie within {reach} voxels of each other along an axis: "
            "give a mask of the body."
        )
    other = np.searchsorted(flat, np.ravel_multi_index(tuple(second[:, kept]), mask.shape))
    return np.stack([first[kept], other])


def variogram_score(draws: Draws, ct: Voxels, pairs: Pairs) -> float:
    """The variogram score of order 0.5, HU, unbiased in the number of draws; lower is better.

    VS = mean over pairs (a, b) of (v̄ - |y_a - y_b|^½)² - s²/M, where v̄ and s² are the mean and the
    variance over draws of |x_a - x_b|^½ (Scheuerer & Hamill, Mon. Weather Rev. 143, 2015, with
    equal weights). The term s²/M makes the score fair: otherwise it would fall with the number of
    draws. The score sees whether voxels vary together; it does not see a shift of all voxels.
    """
    a, b = pairs

    def variogram(hu: Voxels) -> Float[np.ndarray, " pairs"]:
        return np.sqrt(np.abs(hu[a].astype(np.float64) - hu[b]))

    mean, variance = moments([variogram(draw) for draw in draws])
    return float((np.square(mean - variogram(ct)) - variance / len(draws)).mean())
