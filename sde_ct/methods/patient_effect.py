"""What the errors in all slices of a patient have in common: a random curve of offsets over HU.

The bones of one patient may be denser than those of another with the same MR. The regression then
errs by the same number of HU in all of them. A denoiser of single slices does not draw such errors,
because it draws each slice on its own, and layers that relate neighbouring slices hardly draw them.
The mean HU of a bone then varies too little between draws. Statisticians call such a common error a
random effect of the patient.

If there are enough validation patients, their slices show the covariance of these offsets at
`LEVELS`. Each draw of a volume then gets its own curve from a normal distribution with this
covariance, and the variance of its residual falls by as much. A slice that is drawn alone gets no
curve.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from sde_ct.sampling.keys import fold

# HU of the regression at which a curve has its own offsets. A curve is linear between these HU, and
# from the lowest down to `ZERO_BELOW`, where it reaches 0. Above the highest it is constant.
LEVELS = (-90, 30, 150, 300)
ZERO_BELOW = -200
AXIS = (ZERO_BELOW, *LEVELS)
NAMES = {
    (i, j): f"patient_effect_{LEVELS[i]}_{LEVELS[j]}_hu"
    for i in range(len(LEVELS))
    for j in range(i, len(LEVELS))
}
SHARES = tuple(f"patient_share_{hu}_hu" for hu in LEVELS)
MOST_SHARED = 0.9  # of the squared error
LEAST = 5  # validation patients with two slices or more
WIDEST = 4.0  # standard deviations beyond which an error of a voxel is clipped
KEY = 1 << 20  # samplers fold smaller numbers into the key of a volume


class PatientEffect(NamedTuple):
    """The distribution of the curves, in the unit of the regression."""

    factor: Float[Array, "levels levels"]  # L, where L Lᵀ is the covariance of the offsets
    share: Float[Array, " levels"]  # of the offsets in the squared error of the mean of draws


def no_effect() -> PatientEffect:
    """The effect that changes no draw."""
    return PatientEffect(jnp.zeros((len(LEVELS), len(LEVELS))), jnp.zeros(len(LEVELS)))


def measured_effect(
    axis: Float[np.ndarray, " axis"],
    mean: Float[np.ndarray, "n h w 1"],
    missed: Float[np.ndarray, "2 n h w 1"],
    valid: Float[np.ndarray, "n h w 1"],
    patient: Int[np.ndarray, " n"],
) -> dict[str, float]:
    """The covariance of the offsets and their shares, for `effect_of`; {} if the data are too few.

    One draw of a slice and another draw of another slice of the same patient have no randomness in
    common. The mean product of their errors is therefore the mean square of what the patient's
    errors share. It also counts an error that all patients have in common, because the mean is not
    subtracted. Errors are clipped, because a few voxels that are air or bone by chance would
    otherwise decide it.

    Args:
      axis: `AXIS` in the unit of the other arguments.
      mean: the regression of each slice.
      missed: by how much two draws of each slice miss the CT.
      patient: to which patient each slice belongs.
    """
    own = np.equal.outer(np.unique(patient), patient).astype(float)  # [patients, n]
    hats = [valid * np.interp(mean, axis, hat).astype(np.float32) for hat in np.eye(len(axis))[1:]]
    counts = _sums(hats, np.ones_like(mean, np.float32))
    if (own.sum(axis=1) > 1).sum() < LEAST or not counts.any(axis=1).all():
        return {}
    size = _sums(hats, np.abs(missed).mean(axis=0)).sum(axis=1) / counts.sum(axis=1)
    most = WIDEST * np.sqrt(np.pi / 2) * np.interp(mean, axis[1:], size).astype(np.float32)
    clipped = np.clip(missed, -most, most)
    one, other = (_sums(hats, draw) for draw in clipped)
    pairs = _of_other_slices(counts, counts, own)
    covariance = _of_other_slices(one, other, own) / np.where(pairs > 0, pairs, np.inf)
    covariance = (covariance + covariance.T) / 2
    squared = _sums(hats, clipped[0] * clipped[1]).sum(axis=1) / counts.sum(axis=1)
    share = np.clip(np.diag(covariance) / squared.clip(min=1e-12), 0, MOST_SHARED)
    figures = {name: float(covariance[place]) for place, name in NAMES.items()}
    figures |= dict(zip(SHARES, share.tolist(), strict=True))
    return figures if np.isfinite(list(figures.values())).all() else {}


def _sums(
    hats: Sequence[Float[np.ndarray, "n h w 1"]], image: Float[np.ndarray, "n h w 1"]
) -> Float[np.ndarray, "levels n"]:
    """The sum over each slice of `image` with the weights of each level, `hats`."""
    return np.stack([np.einsum("nhwc,nhwc->n", hat, image, dtype=np.float64) for hat in hats])


def _of_other_slices(
    one: Float[np.ndarray, "levels n"],
    other: Float[np.ndarray, "levels n"],
    own: Float[np.ndarray, "patients n"],
) -> Float[np.ndarray, "levels levels"]:
    """The sum of the products over all pairs of different slices of the same patient."""
    return (one @ own.T) @ (other @ own.T).T - one @ other.T


def effect_of(figures: Mapping[str, float]) -> PatientEffect | None:
    """The effect with the nearest positive semi-definite covariance; None if `figures` lack it."""
    if not {*NAMES.values(), *SHARES} <= set(figures):
        return None
    covariance = np.zeros((len(LEVELS), len(LEVELS)))
    for (i, j), name in NAMES.items():
        covariance[i, j] = covariance[j, i] = figures[name]
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(values.clip(min=0))
    share = np.array([figures[name] for name in SHARES])
    return PatientEffect(jnp.asarray(factor, jnp.float32), jnp.asarray(share, jnp.float32))


def drawn_curves(
    effect: PatientEffect | None, keys: Key[Array, " n"], depth: int
) -> Float[Array, "n z levels"]:
    """The curve of each volume, repeated for its slices; zeros without an effect."""
    shape = (len(keys), depth, len(LEVELS))
    if effect is None:
        return jnp.zeros(shape)
    normal = jax.vmap(lambda key: jax.random.normal(key, (len(LEVELS),)))(fold(keys, KEY))
    return jnp.broadcast_to((normal @ effect.factor.T)[:, None], shape)


def narrowed(effect: PatientEffect, axis: Float[Array, " axis"], mean: Array) -> Array:
    """The factor on the residual that makes room for curves where the regression is `mean`."""
    return jnp.sqrt(1 - jnp.interp(mean, axis, jnp.pad(effect.share, (1, 0))))


def offsets(
    axis: Float[Array, " axis"], mean: Float[Array, "b h w 1"], curves: Float[Array, "b levels"]
) -> Float[Array, "b h w 1"]:
    """The values of curves where a regression has the value `mean`."""
    slopes = jnp.diff(curves, axis=1, prepend=0.0) / jnp.diff(axis)
    return sum(
        slopes[:, i, None, None, None] * jnp.clip(mean - axis[i], 0, axis[i + 1] - axis[i])
        for i in range(len(LEVELS))
    )  # type: ignore[return-value]
