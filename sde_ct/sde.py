"""Forward SDEs with exact marginals, their reverse-time SDE and their probability-flow ODE.

dx = f(x, t) dt + g(t) dw on t in [0, 1] turns data x(0) into noise x(1) (Song et al., ICLR 2021,
arXiv 2011.13456). Here f is linear in x, hence x(t) | x(0) ~ N(alpha(t) x(0), std(t)² I).
An SDE is continuous in time; only samplers have a time grid.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from sde_ct.errors import InputError
from sde_ct.types import ScoreFn


def expand(t: ArrayLike, x: Float[Array, "b *d"]) -> Float[Array, "b ..."]:
    """`t`, [b] or a scalar, with axes of length one that let it broadcast against `x` [b, *d]."""
    t = jnp.asarray(t)
    return t.reshape(t.shape + (1,) * (jnp.ndim(x) - t.ndim))


def standard_normal(key: Key[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "b *d"]:
    """Samples of N(0, I) of `shape` [b, *d], from one key or from one key for each sample."""
    if key.ndim == 0:
        return jax.random.normal(key, shape)
    return jax.vmap(lambda k: jax.random.normal(k, shape[1:]))(key)


class SDE(Protocol):
    """A linear forward SDE. Times are in [0, 1], and of any shape except in `drift`."""

    def drift(self, x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]:
        """f(x, t)."""

    def diffusion(self, t: ArrayLike) -> Array:
        """g(t)."""

    def marginal(self, t: ArrayLike) -> tuple[Array, Array]:
        """(alpha, std) of x(t) | x(0) ~ N(alpha x(0), std² I), each with the shape of `t`."""

    def noise_ratio(self, t: ArrayLike) -> Array:
        """std(t) / alpha(t), the noise level relative to the data, which increases with t."""

    def time(self, noise_ratio: ArrayLike) -> Array:
        """The t with the given std / alpha: the inverse of `noise_ratio`, in closed form."""

    def prior(self, key: Key[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "b *d"]:
        """x(1) ~ N(0, std(1)² I), from one key or from one key for each sample.

        The prior ignores the mean alpha(1) E[x(0)] of the true x(1). Samples of the ODE therefore
        have a bias of about -alpha(1)/std(1) · E[x(0)] times the data's standard deviation, and the
        modes of multimodal data get other shares. Data with a mean of 0 has neither error.
        """
        return self.marginal(1.0)[1] * standard_normal(key, shape)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VPSDE(SDE):
    """Variance preserving: dx = -½ beta(t) x dt + √beta(t) dw, beta linear from min to max.

    alpha(t)² = exp(-B(t)), std(t)² = 1 - exp(-B(t)), B(t) = ∫₀ᵗ beta (arXiv 2011.13456, eq. 33).
    It is the limit of the DDPM chain with T = 1000 and beta_i linear from 1e-4 to 0.02 (Ho et al.,
    arXiv 2006.11239): t = i / T, beta(t) = T beta_i. The chain's alpha_i = √Π(1 - beta_j) is within
    0.001 of alpha(i / T) and its std_i within 0.0014 of std(i / T). The ratio of std_i to alpha_i
    differs most at the least noise, by up to 5 %, which equals a shift of t by at most 0.0034.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self):
        _check_ordered("beta_min", self.beta_min, "beta_max", self.beta_max)

    def _beta(self, t):
        return self.beta_min + (self.beta_max - self.beta_min) * jnp.asarray(t)

    def _beta_integral(self, t):
        t = jnp.asarray(t)
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def drift(self, x, t):
        return -0.5 * expand(self._beta(t), x) * x

    def diffusion(self, t):
        return jnp.sqrt(self._beta(t))

    def marginal(self, t):
        integral = self._beta_integral(t)
        return jnp.exp(-0.5 * integral), root(-jnp.expm1(-integral))

    def noise_ratio(self, t):
        return root(jnp.expm1(self._beta_integral(t)))

    def time(self, noise_ratio):
        # The root of ½ (beta_max - beta_min) t² + beta_min t = B, in the form without cancellation.
        integral = jnp.log1p(jnp.square(noise_ratio))
        rise = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2 * rise * integral))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class VESDE(SDE):
    """Variance exploding: dx = g(t) dw, g(t) = sigma(t) √(2 ln(sigma_max / sigma_min)).

    sigma(t) = sigma_min (sigma_max / sigma_min)^t, alpha = 1 and std(t)² = sigma(t)² - sigma_min²
    (arXiv 2011.13456, appendix C, with sigma_min² subtracted so that the variance at t = 0 is 0).
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self):
        _check_ordered("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

    @classmethod
    def from_sigma(cls, sigma: float) -> "VESDE":
        """dx = sigma^t dw, the form of arXiv 2209.12104, where sigma = 25.

        std(t)² = (sigma^2t - 1) / (2 ln sigma); for 25, std(1) = 9.85.
        """
        library: Any = math
        if not isinstance(sigma, int | float):
            library = jnp  # a tracer, which is not checked
        elif not sigma > 1:
            raise InputError(f"sigma: must be above 1, got {sigma}; the paper uses 25.")
        sigma_min = 1 / library.sqrt(2 * library.log(sigma))
        return cls(sigma_min, sigma * sigma_min)

    def _log_range(self):
        return jnp.log(self.sigma_max / self.sigma_min)

    def drift(self, x, t):
        return jnp.zeros_like(x)

    def diffusion(self, t):
        log_range = self._log_range()
        return self.sigma_min * jnp.exp(log_range * jnp.asarray(t)) * jnp.sqrt(2 * log_range)

    def marginal(self, t):
        std = self.noise_ratio(t)
        return jnp.ones_like(std), std

    def noise_ratio(self, t):
        return self.sigma_min * root(jnp.expm1(2 * self._log_range() * jnp.asarray(t)))

    def time(self, noise_ratio):
        return jnp.log1p(jnp.square(noise_ratio / self.sigma_min)) / (2 * self._log_range())


Velocity = Callable[[Float[Array, "b *d"], Float[Array, " b"]], Float[Array, "b *d"]]


def reverse_sde(sde: SDE, score: ScoreFn) -> tuple[Velocity, Callable[[ArrayLike], Array]]:
    """(drift, diffusion) of dx = (f - g² ∇ log p) dt + g dw, for steps dt < 0 from t = 1 to 0.

    It has the marginals of the forward SDE (Anderson 1982; arXiv 2011.13456, eq. 6).
    """

    def drift(x, t):
        value = _of_shape(score(x, t), x)
        return sde.drift(x, t) - expand(sde.diffusion(t) ** 2, x) * value

    return drift, sde.diffusion


def probability_flow(sde: SDE, score: ScoreFn) -> Velocity:
    """dx/dt = f - ½ g² ∇ log p, with the forward SDE's marginals (arXiv 2011.13456, eq. 13)."""

    def velocity(x, t):
        value = _of_shape(score(x, t), x)
        return sde.drift(x, t) - 0.5 * expand(sde.diffusion(t) ** 2, x) * value

    return velocity


def _of_shape(value: Float[Array, "b *d"], x: Float[Array, "b *d"]) -> Float[Array, "b *d"]:
    """The value of a score. Raises InputError for another shape than that of x."""
    if jnp.shape(value) != jnp.shape(x):
        raise InputError(
            f"score: must return the shape of x, {jnp.shape(x)}, but returned {jnp.shape(value)}."
        )
    return value


def denoised(
    sde: SDE, score_value: Float[Array, "b *d"], x: Float[Array, "b *d"], t: Float[Array, " b"]
) -> Float[Array, "b *d"]:
    """E[x(0) | x(t)] = (x + std² ∇ log p_t(x)) / alpha for t > 0 (Tweedie's formula)."""
    alpha, std = sde.marginal(t)
    return (x + expand(std, x) ** 2 * _of_shape(score_value, x)) / expand(alpha, x)


def clip_denoised(sde: SDE, score: ScoreFn, low: float, high: float) -> ScoreFn:
    """A score, for any sampler, whose denoised estimate is clipped to [low, high].

    Clipping changes p(x), mostly at high noise, where the network's errors are large.
    """

    def clipped(x, t):
        alpha, std = (expand(value, x) for value in sde.marginal(t))
        clean = jnp.clip(denoised(sde, score(x, t), x, t), low, high)
        return (alpha * clean - x) / std**2

    return clipped


def root(x: Array) -> Array:
    """√x, or 0 where x is not above 0. The gradient there is 0, so that gradients of marginals and
    samplers with respect to SDE parameters stay finite.
    """
    above = x > 0
    return jnp.where(above, jnp.sqrt(jnp.where(above, x, 1.0)), 0.0)


def _check_ordered(low_name: str, low: float, high_name: str, high: float) -> None:
    # Fields may also be tracers or placeholders of a tree transformation, which are not checked.
    if isinstance(low, int | float) and isinstance(high, int | float) and not 0 < low < high:
        raise InputError(
            f"{low_name}, {high_name}: need 0 < {low_name} < {high_name}, got {low} and {high}."
        )
