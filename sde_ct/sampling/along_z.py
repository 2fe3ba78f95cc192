"""Noise that is correlated between the slices of a volume."""

from collections.abc import Callable

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

from sde_ct.sde import SDE
from sde_ct.types import Samples, ScoreFn


def correlated_along_z(
    sample: Callable[..., Samples], factor: Float[Array, "z z"]
) -> Callable[..., Samples]:
    """`sample` with noise L w in place of white noise w, for samples of shape [b, z, ...].

    L is the lower triangular `factor` of the noise's covariance L Lᵀ along z. Its rows have unit
    length, so the noise of each slice alone is white, and a score s(x) that sees one slice at a
    time gives every slice the same distribution as before. Only the relation between slices
    changes: slices with similar noise get similar draws.

    A sampler of x = L u with the score s adds L w wherever the sampler of u with the score
    L⁻¹ s(L u) adds w, because samplers are linear in state, score and noise. The sampler of u is
    run, so this works with every sampler. The adaptive ODE then controls the error of u.
    """

    def times(matrix, x: Float[Array, "b z *d"]) -> Float[Array, "b z *d"]:
        return jnp.einsum("zs,bs...->bz...", matrix, x)

    inverse = solve_triangular(factor, jnp.eye(len(factor)), lower=True)

    def run(key, sde: SDE, score: ScoreFn, shape: tuple[int, ...]) -> Samples:
        samples = sample(key, sde, lambda u, t: times(inverse, score(times(factor, u), t)), shape)
        return samples._replace(x=times(factor, samples.x))

    return run
