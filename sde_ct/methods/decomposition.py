"""CT = m(MR) + s·r: a regression m, and a residual r of unit scale that another network draws.

The scale is s = √(π/2) E|CT - m|, the standard deviation of a normal distribution with this mean
error. Residuals have heavier tails than a normal distribution, and a few large ones dominate their
variance. Scaled by their root mean square, most of the image would be nearly 0.

A regression errs less on the patients that it has learnt from. Draws therefore have the scale of
the validation patients where there are any, and that of training otherwise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from sde_ct.config import DataConfig
from sde_ct.methods.mirroring import Draw, draw_mean
from sde_ct.methods.slices import by_slices, evaluator
from sde_ct.models import UNet

MEMORY = 0.95  # decay of the moving average of the residual's scale


class Params(NamedTuple):
    """The weights for synthesis."""

    mean: Any
    denoiser: Any  # the network that draws the residual
    scale: Float[Array, ""]  # s, in units of ct_std; NaN while the denoiser is untrained


@dataclass(frozen=True)
class Decomposition:
    """A CT in units of `ct_std`, as the sum of a regression by `network` and a scaled residual.

    The regression has the input channels of the denoiser, so that one network serves both: 0 in
    place of the noised residual and of the mean.
    """

    network: UNet
    data: DataConfig

    def standard(self, ct: Array) -> Array:
        return (ct - self.data.ct_mean) / self.data.ct_std

    def inputs(self, mr: Float[Array, "b h w k"]) -> tuple[Array, Array]:
        """The regression's input channels and noise label."""
        nothing = jnp.zeros((*mr.shape[:-1], 2))
        return jnp.concatenate([nothing, mr], axis=-1), jnp.zeros(len(mr))

    def mean(self, params: Any, mr: Float[Array, "b h w k"]) -> Float[Array, "b h w 1"]:
        return evaluator(self.network)(params, *self.inputs(mr))

    def mean_of_volumes(self, params, mr: Float[Array, "n z h w k"]) -> Float[Array, "n z h w 1"]:
        return by_slices(partial(self.mean, params), mr)

    def ct(self, params: Params, mean: Array, residual: Array) -> Array:
        """In model units."""
        return self.data.ct_mean + self.data.ct_std * (mean + params.scale * residual)

    def draw_mean(self) -> Draw:
        """`draw` of a Method that returns the regression's CT."""
        return draw_mean(lambda params, mr: self.mean_of_volumes(params.mean, mr), self.data)


def has_draws(params: Any) -> bool:
    """Whether a method can draw with these weights; False while a denoiser is untrained."""
    return not (isinstance(params, Params) and bool(jnp.isnan(params.scale)))


def scale_of(error: ArrayLike) -> Float[Array, ""]:
    """s, in units of ct_std, from the regression's mean |error| in the same units."""
    return jnp.sqrt(jnp.pi / 2) * error


def sizes(error: Array, valid: Array) -> tuple[Array, Array]:
    """The mean |error| over valid pixels times their share, and their share."""
    return jnp.mean(valid * jnp.abs(error)), jnp.mean(valid)


def newer_scale(scale: Array, total: Array, share: Array) -> Array:
    """The moving average of the scale after a batch with these `sizes`."""
    newest = MEMORY * scale + (1 - MEMORY) * scale_of(total / share)
    return jnp.where(share == 0, scale, newest)


def validated(params: Params, losses: Mapping[str, float]) -> Params:
    """The weights with the residual's scale on the validation patients."""
    return params._replace(scale=scale_of(losses["mean_error"]))
