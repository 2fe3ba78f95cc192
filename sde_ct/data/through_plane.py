"""The distances along z over which CTs are correlated, by spatial frequency in plane.

If slices are drawn independently, draws flicker along z, and their sums along z spread too little.
Both improve if the noise of neighbouring slices is as strongly correlated as real CTs are
(`sampling.along_z`). Organs and bones are correlated over longer distances than fine detail.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Float
from scipy import ndimage
from scipy.fft import dctn

from sde_ct.data.prepared import PreparedCase
from sde_ct.frequencies import FREQUENCIES, shares
from sde_ct.storage.records import Limit, Positive

BODY_HU = (-500.0, 300.0)  # the body lies above the first value; HU are clipped at the second
FARTHEST_MM = 12.0  # slices up to this distance apart are compared, and neighbours always
Lengths = Annotated[
    list[Positive], Limit(lambda mm: len(mm) == len(FREQUENCIES), "a length for each frequency")
]
OWN = 0.02  # share of each slice's own noise, which makes the covariance positive definite
SHORTEST_MM = 0.1  # the length if neighbouring slices are not correlated at all
PATIENTS = 20  # at most this many cases are read, evenly spread over the given ones


def correlation_lengths(cases: Sequence[PreparedCase]) -> list[float] | None:
    """For each of `FREQUENCIES`, the length l in mm with which exp(-d / l) fits best.

    It is fitted by least squares to the logarithms of the correlations at distances d. None is
    returned if no case with two or more slices has a body.
    """
    products: dict[float, Float[np.ndarray, "2 f"]] = {}
    for case in cases[:: -(-len(cases) // PATIENTS)]:
        for distance, sums in _products(case).items():
            products[distance] = products.get(distance, 0) + sums
    if not products:
        return None
    mm = np.array(list(products))[:, None]
    joint, each = np.array(list(products.values())).swapaxes(0, 1)
    least, most = np.exp(-mm / SHORTEST_MM), np.exp(-1e-4 * mm)  # no length above 10 m
    alike = np.clip(joint / np.maximum(each, 1e-9), least, most)
    return list(map(float, -(mm**2).sum(0) / (mm * np.log(alike)).sum(0)))


def factor(
    length: float | Sequence[float], slice_mm: float, depth: int
) -> Float[np.ndarray, "z z"] | Float[np.ndarray, "f z z"]:
    """The lower triangular L such that L Lᵀ is the correlation of the noise of `depth` slices.

    A single length, which networks of earlier versions have, holds for all frequencies.
    """
    distances = slice_mm * np.abs(np.subtract.outer(np.arange(depth), np.arange(depth)))
    alike = np.exp(-distances / np.asarray(length)[..., None, None])
    covariance = (1 - OWN) * alike + OWN * np.eye(depth)
    return np.linalg.cholesky(covariance).astype(np.float32)


def _products(case: PreparedCase) -> dict[float, Float[np.ndarray, "2 f"]]:
    """For each distance (mm) and frequency: Σ of products and Σ of mean squares of two slices."""
    hu = np.array(case.load("ct"), np.float32)
    tissue = (hu > BODY_HU[0]) & (np.array(case.load("valid")) > 0)
    body = np.stack([ndimage.binary_fill_holes(one) for one in tissue])
    if len(hu) < 2 or not body.any():
        return {}
    clipped = hu.clip(-1000.0, BODY_HU[1])
    parts = shares(*hu.shape[1:])
    transforms = dctn(np.where(body, clipped - clipped[body].mean(), 0), axes=(1, 2), norm="ortho")

    def by_frequency(product: Float[np.ndarray, "z h w"]) -> Float[np.ndarray, " f"]:
        return np.einsum("fhw,zhw->f", parts, product, dtype=np.float64)

    sums = {}
    farthest = max(1, int(FARTHEST_MM / case.grid.slice_mm))
    for lag in range(1, min(farthest, len(hu) - 1) + 1):
        above, below = transforms[lag:], transforms[:-lag]
        both = by_frequency(above * below), by_frequency(above**2 + below**2) / 2
        sums[round(lag * case.grid.slice_mm, 3)] = np.array(both)
    return sums
