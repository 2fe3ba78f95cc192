"""CT = m(MR) + s·r: a regression m, and a residual r of unit scale that another network draws.

In training, the scale is s = √(π/2) E|CT - m|, the standard deviation of a normal distribution with
this mean absolute error. Residuals have heavier tails than a normal distribution, and a few large
ones dominate their variance. If s were their root mean square, r would be nearly 0 in most pixels.

If there are validation patients, synthesis takes from them another scale, which depends on the HU
of m, and a correction of the residual's spectrum and tails (`validated_scale.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from sde_ct.config import DataConfig
from sde_ct.methods.mirroring import Draw, draw_mean, of_orientations
from sde_ct.methods.patient_effect import AXIS, PatientEffect, narrowed, offsets
from sde_ct.methods.slices import by_slices, evaluator
from sde_ct.models import UNet
from sde_ct.sampling.cosine import IN_PLANE, Images, filtered

SMALL = 1e-12  # keeps 0 / 0 finite
MEMORY = 0.95  # decay of the moving average of the residual's scale
# Validation draws set the scale at these HU of the regression. It is linear in between.
KNOTS = (-600, -200, -90, 30, 150, 400)


class Shape(NamedTuple):
    """The changes to a drawn residual before it is scaled."""

    gains: Float[Array, " frequencies"]  # factors on its power at `FREQUENCIES`
    exponent: Float[Array, ""]  # to which its magnitude is then raised, see `raised`

    def __call__(self, residual: Array) -> Array:
        return raised(filtered(residual, self.gains), self.exponent)


class Params(NamedTuple):
    """The weights for synthesis."""

    mean: Any
    denoiser: Any  # the network that draws the residual
    # s, in units of ct_std: one number, or one for each of `KNOTS`. NaN while the denoiser is
    # untrained.
    scale: Float[Array, "*knots"]
    shape: Shape | None = None  # None leaves the residual as it is drawn
    along_z: Any = None  # of the layers that relate the slices of a volume, see `joint.py`
    patient_effect: PatientEffect | None = None  # of volumes

    def of_depth(self, depth: int) -> "Params":
        """The weights for samples of so many slices. A single slice has no patient effect."""
        return self if depth > 1 else self._replace(patient_effect=None)


@dataclass(frozen=True)
class Decomposition:
    """A CT in units of `ct_std`, as the sum of a regression by `network` and a scaled residual.

    The regression has as many input channels as the denoiser, so that one architecture serves both.
    It gets zeros in place of the noised residual and of the mean.
    """

    network: UNet
    data: DataConfig

    def standard(self, ct: Array) -> Array:
        return (ct - self.data.ct_mean) / self.data.ct_std

    def inputs(self, mr: Float[Array, "b h w k"]) -> tuple[Array, Array]:
        """The regression's input channels and noise label."""
        nothing = jnp.zeros((*mr.shape[:-1], 2))
        return jnp.concatenate([nothing, mr], axis=-1), jnp.zeros(len(mr))

    def untrained(self, key: Array, mr: Float[Array, "b h w k"]) -> Params:
        """Random weights of both networks, for their shapes alone."""
        first = self.network.forward.init(key, *self.inputs(mr[:1]))
        return Params(first, jax.tree.map(jnp.copy, first), jnp.ones(()))

    def mean(self, params: Any, mr: Float[Array, "b h w k"]) -> Float[Array, "b h w 1"]:
        return evaluator(self.network)(params, *self.inputs(mr))

    def mean_of_volumes(self, params, mr: Float[Array, "n z h w k"]) -> Float[Array, "n z h w 1"]:
        return by_slices(partial(self.mean, params), mr)

    def in_units(self, hu: ArrayLike) -> Float[Array, "..."]:
        """HU in units of the regression."""
        low, high = self.data.hu_low, self.data.hu_high
        return self.standard(2 * (jnp.asarray(hu) - low) / (high - low) - 1)

    @property
    def knots(self) -> Float[Array, " knots"]:
        """`KNOTS` in units of the regression."""
        return self.in_units(jnp.array(KNOTS))

    def ct(
        self,
        params: Params,
        mean: Float[Array, "b h w 1"],
        residual: Float[Array, "b h w 1"],
        curves: Float[Array, "b levels"] | None = None,
    ) -> Float[Array, "b h w 1"]:
        """The CT in model units, from a mean, a drawn residual and the result of `drawn_curves`."""
        if params.shape is not None:
            residual = params.shape(residual)
        scale = jnp.interp(mean, self.knots, jnp.broadcast_to(params.scale, (len(KNOTS),)))
        if curves is None or params.patient_effect is None:
            standard = mean + scale * residual
        else:
            axis = self.in_units(jnp.array(AXIS))
            scale = scale * narrowed(params.patient_effect, axis, mean)
            standard = mean + scale * residual + offsets(axis, mean, curves)
        return self.data.ct_mean + self.data.ct_std * standard

    def draw_mean(self) -> Draw:
        """`draw` of a Method that returns the regression's CT."""
        return draw_mean(self._predict, self.data)

    def means(self) -> Callable[[Any, Array], Array]:
        """`means` of a Method that draws the residual."""
        return of_orientations(self._predict, self.data)

    def _predict(self, params: Params, mr: Float[Array, "n z h w k"]) -> Array:
        return self.mean_of_volumes(params.mean, mr)


def as_channels(params: Params, mean: Array, residual: Array, curves: Any) -> Array:
    """In place of `Decomposition.ct`, the mean and the residual themselves, [b, h, w, 2]."""
    return jnp.concatenate([mean, residual], axis=-1)


def raised(residual: Images, exponent: ArrayLike) -> Float[Array, "*n h w 1"]:
    """The residual with its magnitude raised to an exponent, in units of its size in the slice.

    The size is the root mean square. If a residual is twice as large, so is the result. An exponent
    therefore does not amplify the differences between samplers.
    """
    residual = jnp.asarray(residual)
    size = jnp.sqrt(jnp.mean(residual**2, axis=IN_PLANE, keepdims=True) + SMALL)
    return jnp.sign(residual) * size * (jnp.abs(residual) / size) ** exponent


def has_draws(params: Any) -> bool:
    """Whether a method can draw with these weights; False while a denoiser is untrained."""
    return not (isinstance(params, Params) and bool(jnp.isnan(params.scale).any()))


def scale_of(error: ArrayLike) -> Float[Array, ""]:
    """s, in units of ct_std, from the regression's mean |error| in the same units."""
    return jnp.sqrt(jnp.pi / 2) * error


def sizes(error: Array, valid: Array) -> tuple[Array, Array]:
    """The mean over all pixels of |error|, with 0 for invalid ones, and the share of valid ones."""
    return jnp.mean(valid * jnp.abs(error)), jnp.mean(valid)


def newer_scale(scale: Array, total: Array, share: Array) -> Array:
    """The moving average of the scale after a batch with these `sizes`."""
    newest = MEMORY * scale + (1 - MEMORY) * scale_of(total / share)
    return jnp.where(share == 0, scale, newest)
