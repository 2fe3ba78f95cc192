"""Noise that is correlated between the slices of a volume."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Key

from sde_ct.frequencies import FREQUENCIES, nearest
from sde_ct.sampling.cosine import restored, transformed
from sde_ct.sampling.keys import fold
from sde_ct.sde import SDE
from sde_ct.types import Samples, ScoreFn

# The triangular factor of the noise's covariance between slices: one for each of `FREQUENCIES`, or
# a single one for all frequencies, as in records of earlier versions.
Factor = Float[Array | np.ndarray, "z z"] | Float[Array | np.ndarray, "f z z"]


def correlated_along_z(sample: Callable[..., Samples], factor: Factor) -> Callable[..., Samples]:
    """`sample` with noise L w in place of white noise w, for samples of shape [b, z, ...].

    L is the lower triangular `factor` of the noise's covariance L Lᵀ along z. Its rows have unit
    length, so the noise of each slice alone is white, and a score s(x) that sees one slice at a
    time gives every slice the same distribution as before. Only the relation between slices
    changes: slices with similar noise get similar draws.

    A sampler is linear in its state, score and noise. To sample x = L u with the score s(x) and the
    noise L w, it is therefore run for u, with the score L⁻¹ s(L u) and the noise w. This works with
    every sampler. The adaptive ODE then controls the error of u.

    With a factor for each frequency, samples have the shape [b, z, h, w, 1]. Then u and w hold the
    coefficients of the slices' cosine transforms, ordered by frequency, and L also transforms them
    back to slices.
    """
    inverse = jnp.vectorize(
        lambda one: solve_triangular(one, jnp.eye(len(one)), lower=True), signature="(z,z)->(z,z)"
    )(factor)
    forward, backward = _maps(factor)

    def run(key, sde: SDE, score: ScoreFn, shape: tuple[int, ...]) -> Samples:
        def of_u(u, t):
            return backward(inverse, score(forward(factor, u), t))

        samples = sample(key, sde, of_u, shape)
        return samples._replace(x=forward(factor, samples.x))

    return run


def correlated_noise(
    keys: Key[Array, " b"], factor: Factor | None, shape: tuple[int, ...]
) -> Float[Array, "b z *d"]:
    """L w for white noise w of samples of `shape` [z, *d], or w itself without a factor.

    The noise of each frequency is drawn separately, because large volumes need much memory.
    """

    def white(keys, shape: tuple[int, ...]) -> Array:
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    if factor is None or factor.ndim == 2:
        noise = white(keys, shape)
        return noise if factor is None else _of_slices(factor, noise)
    sizes = _sizes(*shape[1:3])
    parts = [white(fold(keys, i), (shape[0], size)) for i, size in enumerate(sizes)]
    return _restored(_mixed_parts(factor, parts), shape)


def _maps(factor: Factor) -> tuple[Callable, Callable]:
    """(L, u) -> x = L u, and (L⁻¹, s) -> L⁻¹ s."""
    if factor.ndim == 2:
        return _of_slices, _of_slices
    return (
        lambda matrix, u: _restored(_mixed(matrix, u), u.shape[1:]),
        lambda matrix, s: _mixed(matrix, _coefficients(s)),
    )


def _of_slices(matrix: Factor, x: Float[Array, "b z *d"]) -> Float[Array, "b z *d"]:
    """The product of the matrix and `x` along z."""
    return jnp.einsum("zs,bs...->bz...", matrix, x)


def _restored(coefficients: Array, shape: tuple[int, ...]) -> Float[Array, "b z h w 1"]:
    """The slices with these coefficients, which are ordered by frequency."""
    back = np.argsort(_order(*shape[1:3]))
    flat = coefficients.reshape(len(coefficients), shape[0], -1)
    return restored(flat[..., back].reshape(-1, *shape))


def _coefficients(x: Float[Array, "b z h w 1"]) -> Float[Array, "b z h w 1"]:
    """The coefficients of the slices, ordered by frequency."""
    found = transformed(x).reshape(*x.shape[:2], -1)
    return found[..., _order(*x.shape[2:4])].reshape(x.shape)


def _mixed(matrices: Factor, u: Float[Array, "b z h w 1"]) -> Array:
    """The product along z of each frequency's matrix and the coefficients of this frequency."""
    ends = np.cumsum(_sizes(*u.shape[2:4]))
    parts = jnp.split(u.reshape(*u.shape[:2], -1), ends[:-1], axis=-1)
    return _mixed_parts(matrices, parts).reshape(u.shape)


def _mixed_parts(matrices: Factor, parts: Sequence[Array]) -> Float[Array, "b z n"]:
    mixed = [_of_slices(*one) for one in zip(matrices, parts, strict=True)]
    return jnp.concatenate(mixed, axis=-1)


def _order(height: int, width: int) -> np.ndarray:
    """The indices that order the coefficients of an image by frequency."""
    return np.argsort(nearest(height, width).ravel(), kind="stable")


def _sizes(height: int, width: int) -> list[int]:
    """How many coefficients each frequency has."""
    return np.bincount(nearest(height, width).ravel(), minlength=len(FREQUENCIES)).tolist()
