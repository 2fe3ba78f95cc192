"""CT = m(MR) + s·r: a regression m, and a residual r of unit scale that another network draws.

In training, the scale is s = √(π/2) E|CT - m|, the standard deviation of a normal distribution with
this mean error. Residuals have heavier tails than a normal distribution, and a few large ones
dominate their variance. Scaled by their root mean square, most of the image would be nearly 0.

Networks err less on the patients that they have learnt from, and draws for other patients then
differ too little. Where there are validation patients, draws therefore have the scale at which
those patients' draws differ from their mean as much as that mean errs. This scale depends on the
HU of m, because a network trained for a short time draws too much noise in fat and muscle and too
little at the borders of bone and air.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from sde_ct.config import DataConfig
from sde_ct.methods.mirroring import Draw, draw_mean
from sde_ct.methods.slices import by_slices, evaluator
from sde_ct.models import UNet
from sde_ct.sampling.chain import all_finite
from sde_ct.sampling.keys import fold
from sde_ct.types import Batch, Samples

MEMORY = 0.95  # decay of the moving average of the residual's scale
WIDEST = 3.0  # the largest factor by which validation draws change the scale, either way
# HU of the regression at which validation draws set the scale; it is linear between two of them.
KNOTS = (-600, -200, -90, 30, 150, 400)
SHARED = 0.01  # weight of all pixels in each knot's equation; they alone count where none is near
COEFFICIENTS = ("constant", "linear", "quadratic")  # of `Decomposition.spread`


class Params(NamedTuple):
    """The weights for synthesis."""

    mean: Any
    denoiser: Any  # the network that draws the residual
    # s, in units of ct_std: one number, or one for each of `KNOTS`. NaN while the denoiser is
    # untrained.
    scale: Float[Array, "*knots"]


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

    @property
    def knots(self) -> Float[Array, " knots"]:
        """`KNOTS` in units of the regression."""
        low, high = self.data.hu_low, self.data.hu_high
        return self.standard(2 * (jnp.array(KNOTS) - low) / (high - low) - 1)

    def ct(self, params: Params, mean: Array, residual: Array) -> Array:
        """In model units."""
        scale = jnp.interp(mean, self.knots, jnp.broadcast_to(params.scale, (len(KNOTS),)))
        return self.data.ct_mean + self.data.ct_std * (mean + scale * residual)

    def draw(self, split: Draw) -> Draw:
        """`draw` of a Method: the CT of each mean and residual that `split` returns as channels."""

        def draw(params: Params, keys, mr: Float[Array, "n z h w k"], along_z=None) -> Samples:
            samples = split(params, keys, mr, along_z)
            ct = self.ct(params, samples.x[..., :1], samples.x[..., 1:])
            return samples._replace(x=ct, ok=samples.ok & all_finite(ct))

        return draw

    def draw_mean(self) -> Draw:
        """`draw` of a Method that returns the regression's CT."""
        return draw_mean(lambda params, mr: self.mean_of_volumes(params.mean, mr), self.data)

    def spread(self, split: Draw, params: Params, keys, batch: Batch) -> dict[str, Array]:
        """For each knot, c, l, q of c + 2ls + qs² = 0, whose root s gives draws the right spread.

        Two independent draws miss the CT by u₁ and u₂, where u = s r - e and e = CT - m. The mean
        of infinitely many draws has the squared error E[u₁u₂], and draws the variance
        E[(u₁ - u₂)²]/2. Both are equal where E[2u₁u₂ - (u₁² + u₂²)/2] = 0. E is a mean over valid
        pixels, weighted by their share in the knot: 1 where m is at the knot, falling linearly to
        0 at the next ones. m belongs to a draw, because a draw may have the mirrored MR.

        Args:
          split: draws with the channels m and r in place of a CT.
        """
        drawn = [split(params, fold(keys, i), batch.mr[:, None]).x[:, 0] for i in (1, 2)]
        ct = self.standard(batch.ct)
        error = [ct - x[..., :1] for x in drawn]
        rest = [x[..., 1:] for x in drawn]
        mean = (drawn[0][..., :1] + drawn[1][..., :1]) / 2
        shares = [jnp.interp(mean, self.knots, one) for one in jnp.eye(len(KNOTS))]

        def paired(a: list[Array], b: list[Array]) -> list[Array]:
            crossed, own = a[0] * b[1] + a[1] * b[0], (a[0] * b[0] + a[1] * b[1]) / 2
            weighted = batch.valid * (crossed - own) / jnp.mean(batch.valid)
            return [jnp.mean(share * weighted) for share in shares]

        linear = [-one for one in paired(rest, error)]
        found = zip(KNOTS, paired(error, error), linear, paired(rest, rest), strict=True)
        return {
            f"spread_{name}_{hu}_hu": value
            for hu, *values in found
            for name, value in zip(COEFFICIENTS, values, strict=True)
        }


def has_draws(params: Any) -> bool:
    """Whether a method can draw with these weights; False while a denoiser is untrained."""
    return not (isinstance(params, Params) and bool(jnp.isnan(params.scale).any()))


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


def scale_of_draws(losses: Mapping[str, float]) -> Float[np.ndarray, " knots"]:
    """For each knot, the scale at which draws differ as much as their mean errs; NaN without any.

    It solves the equations of `Decomposition.spread`. Records of earlier versions may hold one
    equation for all knots.
    """
    names = [f"spread_{name}" for name in COEFFICIENTS]
    equations = np.array(
        [
            [losses.get(f"{name}_{hu}_hu", losses.get(name, np.nan)) for name in names]
            for hu in KNOTS
        ]
    )
    everywhere = equations.sum(axis=0)
    root = _root(*(equations + SHARED * everywhere).T)
    return np.where(np.isnan(root), _root(*everywhere), root)


def _root(constant: np.ndarray, linear: np.ndarray, quadratic: np.ndarray) -> np.ndarray:
    """The positive s of c + 2ls + qs² = 0; NaN if there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        root = constant / (np.sqrt(linear**2 - constant * quadratic) - linear)
    return np.where(root > 0, root, np.nan)


def validated(params: Params, losses: Mapping[str, float]) -> Params:
    """The weights with the residual's scale on the validation patients.

    Where draws of these patients give none, it follows from the regression's mean error on them.
    """
    usual = float(scale_of(losses["mean_error"]))
    scale = np.clip(scale_of_draws(losses), usual / WIDEST, usual * WIDEST)
    scale = np.where(np.isnan(scale), usual, scale)
    return params._replace(scale=jnp.asarray(scale, jnp.float32))
