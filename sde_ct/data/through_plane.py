"""How alike the fine detail of neighbouring CT slices is, by their distance in mm.

Draws of slices made apart flicker along z, and their sums along z are too sure. Noise that is as
alike in neighbouring slices as the detail of real CTs repairs both (`sampling.along_z`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import ndimage, optimize

from sde_ct.data.prepared import PreparedCase

DETAIL_MM = 8.0  # detail is what a Gaussian of this standard deviation removes from a slice
BODY_HU = (-500.0, 300.0)  # voxels above the first count; HU are clipped at the second
FARTHEST = 8  # slices
LENGTHS = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 1e4)  # mm, of the fitted exponentials
OWN = 0.02  # least share of a slice's own noise, with which the covariance can be inverted
PATIENTS = 20  # at most this many are read, evenly spread over those given


def correlation(cases: Sequence[PreparedCase]) -> dict[str, float] | None:
    """{length in mm: weight} of exponentials whose sum is the correlation of CT detail along z.

    The weights sum to 1, so the correlation at distance d, Σ weight·exp(-d / length), is 1 at 0.
    None where no case has two neighbouring slices that the CT measured.
    """
    products: dict[float, Float[np.ndarray, 2]] = {}
    for case in cases[:: -(-len(cases) // PATIENTS)]:
        for distance, sums in _products(case).items():
            products[distance] = products.get(distance, np.zeros(2)) + sums
    if not products:
        return None
    distances = np.array(list(products))
    found = np.array([both / max(each, 1e-12) for both, each in products.values()])
    return dict(zip(map(str, LENGTHS), _fitted(distances, found).tolist(), strict=True))


def factor(weights: Mapping[str, float], slice_mm: float, depth: int) -> Float[np.ndarray, "z z"]:
    """The lower triangular L with L Lᵀ the correlation of noise between `depth` slices."""
    distances = slice_mm * np.abs(np.subtract.outer(np.arange(depth), np.arange(depth)))
    joint = sum(w * np.exp(-distances / float(length)) for length, w in weights.items())
    return np.linalg.cholesky((1 - OWN) * joint + OWN * np.eye(depth)).astype(np.float32)


def _fitted(distances: np.ndarray, found: np.ndarray) -> Float[np.ndarray, " lengths"]:
    """Weights of at least 0 that sum to 1, by least squares."""
    basis = np.exp(-distances[:, None] / np.array(LENGTHS))
    certain = 1e3  # weight of the condition that the sum is 1
    weights, _ = optimize.nnls(
        np.vstack([basis, np.full(len(LENGTHS), certain)]), np.append(found, certain)
    )
    return weights / weights.sum()


def _products(case: PreparedCase) -> dict[float, Float[np.ndarray, "2"]]:
    """{distance, mm: Σ of products of detail, Σ of mean squares} over voxels of two slices."""
    hu = np.array(case.load("ct"), np.float32)
    body = (hu > BODY_HU[0]) & (np.array(case.load("valid")) > 0)
    sigma = [DETAIL_MM / mm for mm in case.grid.pixel_mm]
    clipped = hu.clip(-1000.0, BODY_HU[1])
    detail = clipped - ndimage.gaussian_filter(clipped, (0, *sigma))
    sums = {}
    for lag in range(1, min(FARTHEST, len(hu) - 1) + 1):
        both = body[lag:] & body[:-lag]
        if both.any():
            above, below = detail[lag:][both], detail[:-lag][both]
            joint, each = (above * below).sum(), (above**2 + below**2).sum() / 2
            sums[round(lag * case.grid.slice_mm, 3)] = np.array([joint, each], np.float64)
    return sums
