"""Noise that is correlated between the slices of a volume."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from sde_ct.frequencies import nearest
from sde_ct.sampling.cosine import restored, transformed
from sde_ct.sde import SDE
from sde_ct.types import Samples, ScoreFn

# Of the noise's covariance between slices; one for all, or one for each of `FREQUENCIES`.
Factor = Float[Array, "z z"] | Float[Array, "f z z"]


def correlated_along_z(sample: Callable[..., Samples], factor: Factor) -> Callable[..., Samples]:
    """`sample` with noise L w in place of white noise w, for samples of shape [b, z, ...].

    L is the lower triangular `factor` of the noise's covariance L Lᵀ along z. Its rows have unit
    length, so the noise of each slice alone is white, and a score s(x) that sees one slice at a
    time gives every slice the same distribution as before. Only the relation between slices
    changes: slices with similar noise get similar draws.

    A sampler of x = L u with the score s adds L w wherever the sampler of u with the score
    L⁻¹ s(L u) adds w, because samplers are linear in state, score and noise. The sampler of u is
    run, so this works with every sampler. The adaptive ODE then controls the error of u.
    """
    identity = jnp.eye(factor.shape[-1])
    inverse = jnp.vectorize(
        lambda one: solve_triangular(one, identity, lower=True), signature="(z,z)->(z,z)"
    )(factor)

    def run(key, sde: SDE, score: ScoreFn, shape: tuple[int, ...]) -> Samples:
        def of_u(u, t):
            return times(inverse, score(times(factor, u), t))

        samples = sample(key, sde, of_u, shape)
        return samples._replace(x=times(factor, samples.x))

    return run


def times(factor: Factor, x: Float[Array, "b z *d"]) -> Float[Array, "b z *d"]:
    """L x. If L depends on the frequency in the plane, x has the shape [b, z, h, w, 1]."""
    if factor.ndim == 2:
        return jnp.einsum("zs,bs...->bz...", factor, x)
    bands = nearest(*x.shape[2:4])[..., None]

    def with_band(total, band):
        number, of_band = band
        joint = jnp.einsum("zs,bs...->bz...", of_band, coefficients)
        return jnp.where(bands == number, joint, total), None

    coefficients = _by_slices(transformed, x)
    numbered = jnp.arange(len(factor)), factor
    return _by_slices(restored, jax.lax.scan(with_band, jnp.zeros_like(x), numbered)[0])


def _by_slices(function: Callable, x: Float[Array, "b z h w 1"]) -> Float[Array, "b z h w 1"]:
    """`function` of one slice after another, because a transform takes memory."""
    return jax.lax.map(function, x.swapaxes(0, 1)).swapaxes(0, 1)
