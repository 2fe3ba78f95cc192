"""What the errors in all slices of a patient have in common: a random curve of offsets over HU.

The bones of one patient may be denser than those of another with the same MR. The regression then
errs by the same number of HU in all of them. A denoiser of single slices does not draw such errors,
because it draws each slice on its own, and layers that relate neighbouring slices hardly do.
Without them the mean HU of a bone varies too little between draws. Statisticians call such a
common error a random effect of the patient.

If there are enough validation patients, their slices show the covariance of these offsets at
`LEVELS`. Each draw of a volume then gets its own curve from a normal distribution with this
covariance. A slice that is drawn alone gets none.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from sde_ct.sampling.keys import fold

# HU of the regression at which a curve has its own offsets. It is linear between two of them, has
# the last offset above them, and is 0 from `NONE` downwards.
LEVELS = (-90, 30, 150, 300)
NONE = -200
AXIS = (NONE, *LEVELS)
NAMES = {
    (i, j): f"patient_effect_{LEVELS[i]}_{LEVELS[j]}_hu"
    for i in range(len(LEVELS))
    for j in range(i, len(LEVELS))
}
LEAST = 5  # validation patients with two slices or more
WIDEST = 4.0  # standard deviations beyond which an error of a voxel is clipped
KEY = 1 << 20  # samplers fold smaller numbers into the key of a volume

Curves = Float[Array, "n levels"]


def measured_effect(
    axis: Float[np.ndarray, " axis"],
    mean: Float[np.ndarray, "n h w 1"],
    missed: Float[np.ndarray, "2 n h w 1"],
    valid: Float[np.ndarray, "n h w 1"],
    patient: Int[np.ndarray, " n"],
) -> dict[str, float]:
    """The covariance of the offsets, as figures for `factor_of`; {} if the patients are too few.

    One draw of a slice and another draw of another slice of the same patient have no randomness in
    common. The mean product of their errors is therefore the covariance of what the patient's
    errors share. Errors are clipped, because a few voxels that are air or bone by chance would
    otherwise decide it.

    Args:
      axis: `AXIS` in the unit of the other arguments.
      mean: the regression of each slice.
      missed: by how much two draws of each slice miss the CT.
      patient: to which patient each slice belongs.
    """
    own = np.equal.outer(np.unique(patient), patient).astype(float)  # [patients, n]
    if (own.sum(axis=1) > 1).sum() < LEAST:
        return {}
    hats = np.stack([valid * np.interp(mean, axis, hat) for hat in np.eye(len(axis))[1:]])
    counts = _sums(hats)
    size = _sums(hats * np.abs(missed).mean(axis=0)).sum(axis=1) / counts.sum(axis=1)
    if not np.isfinite(size).all():
        return {}
    most = WIDEST * np.sqrt(np.pi / 2) * np.interp(mean, axis[1:], size)
    one, other = (_sums(hats * np.clip(draw, -most, most)) for draw in missed)
    pairs = _of_other_slices(counts, counts, own)
    covariance = _of_other_slices(one, other, own) / np.where(pairs > 0, pairs, np.inf)
    covariance = (covariance + covariance.T) / 2
    return {name: float(covariance[place]) for place, name in NAMES.items()}


def _sums(images: Float[np.ndarray, "levels n h w 1"]) -> Float[np.ndarray, "levels n"]:
    return images.sum(axis=(2, 3, 4), dtype=np.float64)


def _of_other_slices(
    one: Float[np.ndarray, "levels n"],
    other: Float[np.ndarray, "levels n"],
    own: Float[np.ndarray, "patients n"],
) -> Float[np.ndarray, "levels levels"]:
    """The sum of the products over all pairs of different slices of the same patient."""
    return (one @ own.T) @ (other @ own.T).T - one @ other.T


def factor_of(figures: Mapping[str, float]) -> Float[Array, "levels levels"] | None:
    """L with the nearest covariance L Lᵀ to the measured one; None if a record has none."""
    if not set(NAMES.values()) <= set(figures):
        return None
    covariance = np.zeros((len(LEVELS), len(LEVELS)))
    for (i, j), name in NAMES.items():
        covariance[i, j] = covariance[j, i] = figures[name]
    values, vectors = np.linalg.eigh(covariance)
    return jnp.asarray(vectors * np.sqrt(values.clip(min=0)), jnp.float32)


def drawn_curves(
    factor: Float[Array, "levels levels"] | None, keys: Key[Array, " n"], depth: int
) -> Float[Array, "n z levels"]:
    """The curve of each volume, repeated for its slices; zeros for slices that are drawn alone."""
    shape = (len(keys), depth, len(LEVELS))
    if factor is None or depth == 1:
        return jnp.zeros(shape)
    normal = jax.vmap(lambda key: jax.random.normal(key, (len(LEVELS),)))(fold(keys, KEY))
    return jnp.broadcast_to((normal @ factor.T)[:, None], shape)


def offsets(
    axis: Float[Array, " axis"], mean: Float[Array, "b h w 1"], curves: Float[Array, "b levels"]
) -> Float[Array, "b h w 1"]:
    """The values of curves where a regression has the value `mean`."""
    slopes = jnp.diff(curves, axis=1, prepend=0.0) / jnp.diff(axis)
    return sum(
        slopes[:, i, None, None, None] * jnp.clip(mean - axis[i], 0, axis[i + 1] - axis[i])
        for i in range(len(LEVELS))
    )  # type: ignore[return-value]
