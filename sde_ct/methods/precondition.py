"""What the network is fed and what it predicts, in one table for VP and VE alike.

With x = α x₀ + σ z, a form fixes the network's input, its noise label, its target F* and the score
that its output means. The loss is mean |F - F*|² in every form.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Form(NamedTuple):
    """Functions of (x, t, α, σ) with t, α, σ broadcast against x [b h w 1]."""

    inputs: Callable  # (x, alpha, std) -> network input
    label: Callable  # (t, alpha, std) -> noise label, [b]
    target: Callable  # (x0, z, alpha, std) -> F*
    score: Callable  # (x, F, alpha, std) -> ∇ log p_t(x)


def edm(data_mean: float, sigma_data: float) -> Form:
    """Unit-variance input and target at every noise level (Karras et al. 2022, §5).

    The paper writes it for x = x₀ + σ z and data of mean 0. For data of mean μ and standard
    deviation σ_d, with y = x - αμ and v = α²σ_d² + σ² its variance, the same requirements give
    c_in = 1/√v, c_skip = ασ_d²/v, c_out = σσ_d/√v, hence
        F* = (x₀ - μ - c_skip y)/c_out = (σ (x₀ - μ) - ασ_d² z)/(σ_d √v)
        score = (α D - x)/σ² = -y/v + ασ_d F/(σ √v),   D = μ + c_skip y + c_out F.
    """

    def root(alpha, std):
        return jnp.sqrt(alpha**2 * sigma_data**2 + std**2)

    return Form(
        inputs=lambda x, alpha, std: (x - alpha * data_mean) / root(alpha, std),
        label=lambda t, alpha, std: jnp.log(std / alpha) / 4,
        target=lambda x0, z, alpha, std: (
            (std * (x0 - data_mean) - alpha * sigma_data**2 * z) / (sigma_data * root(alpha, std))
        ),
        score=lambda x, f, alpha, std: (
            (alpha * data_mean - x) / root(alpha, std) ** 2
            + alpha * sigma_data * f / (std * root(alpha, std))
        ),
    )


def epsilon(steps: int) -> Form:
    """The paper's DDPM (Ho et al. 2020): predict the noise; the label is the integer step."""
    return Form(
        inputs=lambda x, alpha, std: x,
        label=lambda t, alpha, std: t * steps - 1,
        target=lambda x0, z, alpha, std: z,
        score=lambda x, f, alpha, std: -f / std,
    )


def score() -> Form:
    """The paper's score model (Song et al. 2021): output divided by σ(t) is the score.

    With the weight σ² the denoising score-matching loss is |F + z|².
    """
    return Form(
        inputs=lambda x, alpha, std: x,
        label=lambda t, alpha, std: t,
        target=lambda x0, z, alpha, std: -z,
        score=lambda x, f, alpha, std: f / std,
    )


def noisy(x0: Array, z: Array, alpha: Array, std: Array) -> Float[Array, "b h w 1"]:
    """x_t = α x₀ + σ z."""
    return alpha * x0 + std * z
