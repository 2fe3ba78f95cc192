"""Noise that is correlated between the slices of a volume."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from sde_ct.frequencies import nearest
from sde_ct.sampling.cosine import restored, transformed
from sde_ct.sde import SDE
from sde_ct.types import Samples, ScoreFn

# Of the noise's covariance between slices: one for all, or one for each of `FREQUENCIES`.
Factor = Float[Array, "z z"] | Float[Array, "f z z"]


def correlated_along_z(sample: Callable[..., Samples], factor: Factor) -> Callable[..., Samples]:
    """`sample` with noise L w in place of white noise w, for samples of shape [b, z, ...].

    L is the lower triangular `factor` of the noise's covariance L Lᵀ along z. Its rows have unit
    length, so the noise of each slice alone is white, and a score s(x) that sees one slice at a
    time gives every slice the same distribution as before. Only the relation between slices
    changes: slices with similar noise get similar draws. With a factor for each frequency, slices
    are [h, w, 1], w is the noise of their cosine transforms, and L also restores the slices.

    A sampler of x = L u with the score s adds L w wherever the sampler of u with the score
    L⁻¹ s(L u) adds w, because samplers are linear in state, score and noise. The sampler of u
    is run, so this works with every sampler. The adaptive ODE then controls the error of u.
    """
    inverse = jnp.vectorize(
        lambda one: solve_triangular(one, jnp.eye(len(one)), lower=True), signature="(z,z)->(z,z)"
    )(factor)

    def run(key, sde: SDE, score: ScoreFn, shape: tuple[int, ...]) -> Samples:
        def of_u(u, t):
            s = score(correlated(factor, u), t)
            return _mixed(inverse, s if factor.ndim == 2 else transformed(s))

        samples = sample(key, sde, of_u, shape)
        return samples._replace(x=correlated(factor, samples.x))

    return run


def correlated(factor: Factor, u: Float[Array, "b z *d"]) -> Float[Array, "b z *d"]:
    """L u: volumes whose slices are correlated if those of u are white noise."""
    mixed = _mixed(factor, u)
    return mixed if factor.ndim == 2 else restored(mixed)


def _mixed(factor: Factor, u: Float[Array, "b z *d"]) -> Float[Array, "b z *d"]:
    """The sums over slices with the weights of the factor, by frequency if it has several."""
    if factor.ndim == 2:
        return jnp.einsum("zs,bs...->bz...", factor, u)
    bands = nearest(*u.shape[2:4]).ravel()
    order = np.argsort(bands, kind="stable")  # the coefficients of a frequency lie together then
    ends = np.searchsorted(bands[order], np.arange(len(factor) + 1))
    ordered = u.reshape(*u.shape[:2], -1)[..., order]
    parts = [
        jnp.einsum("zs,bsn->bzn", of_band, ordered[..., start:end])
        for of_band, start, end in zip(factor, ends[:-1], ends[1:], strict=True)
    ]
    return jnp.concatenate(parts, axis=-1)[..., np.argsort(order)].reshape(u.shape)
