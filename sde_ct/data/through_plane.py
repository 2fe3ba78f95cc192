"""The distance along z over which the fine detail of CTs is correlated.

If slices are drawn independently, draws flicker along z, and the spread of sums along z is too
small. Both improve if the noise of neighbouring slices is as strongly correlated as the fine
detail of real CTs (`sampling.along_z`).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from sde_ct.data.prepared import PreparedCase

DETAIL_MM = 5.0  # detail is what a Gaussian of this standard deviation removes from a slice
BODY_HU = (-500.0, 300.0)  # voxels above the first value are used; HU are clipped at the second
FARTHEST_MM = 12.0  # largest distance that is compared; neighbours are always compared
OWN = 0.02  # share of noise that is independent in each slice, so that the covariance is invertible
PATIENTS = 20  # at most this many are read, evenly spread over those given


def correlation_length(cases: Sequence[PreparedCase]) -> float | None:
    """The length l in mm with which exp(-d / l) is closest to the correlation at distance d.

    It is fitted to the logarithms of the correlations by least squares. The result is None if no
    case has neighbouring slices that the CT measured, or if their detail is not correlated at all.
    """
    products: dict[float, Float[np.ndarray, 2]] = {}
    for case in cases[:: -(-len(cases) // PATIENTS)]:
        for distance, sums in _products(case).items():
            products[distance] = products.get(distance, np.zeros(2)) + sums
    alike = {mm: both / each for mm, (both, each) in products.items() if 0 < both < each}
    if not alike:
        return None
    mm, logs = np.array(list(alike)), np.log(list(alike.values()))
    return float(-(mm**2).sum() / (mm * logs).sum())


def factor(length: float, slice_mm: float, depth: int) -> Float[np.ndarray, "z z"]:
    """The lower triangular L for which L Lᵀ is the correlation of the noise of `depth` slices."""
    distances = slice_mm * np.abs(np.subtract.outer(np.arange(depth), np.arange(depth)))
    covariance = (1 - OWN) * np.exp(-distances / length) + OWN * np.eye(depth)
    return np.linalg.cholesky(covariance).astype(np.float32)


def _products(case: PreparedCase) -> dict[float, Float[np.ndarray, "2"]]:
    """{distance in mm: [Σ of products, Σ of mean squares]} of the detail of pairs of slices."""
    hu = np.array(case.load("ct"), np.float32)
    body = (hu > BODY_HU[0]) & (np.array(case.load("valid")) > 0)
    sigma = [DETAIL_MM / mm for mm in case.grid.pixel_mm]
    clipped = hu.clip(-1000.0, BODY_HU[1])
    detail = clipped - ndimage.gaussian_filter(clipped, (0, *sigma))
    farthest = max(1, int(FARTHEST_MM / case.grid.slice_mm))
    sums = {}
    for lag in range(1, min(farthest, len(hu) - 1) + 1):
        both = body[lag:] & body[:-lag]
        if both.any():
            above, below = detail[lag:][both], detail[:-lag][both]
            joint, each = (above * below).sum(), (above**2 + below**2).sum() / 2
            sums[round(lag * case.grid.slice_mm, 3)] = np.array([joint, each], np.float64)
    return sums
