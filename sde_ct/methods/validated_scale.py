"""The scale of the residual on validation patients, by HU and by spatial frequency.

Networks err less on the patients that they have learnt from than on others, and the difference is
largest in smooth errors, which span several pixels. Draws imitate the residuals of training
patients. For other patients they therefore differ too little, and their differences are too fine.
Where there are validation patients, synthesis corrects both: the scale s depends on the HU of the
regression, and the residual's power is multiplied by a gain that depends on frequency. With both,
the draws of these patients differ from their mean as much as that mean errs.
"""

from collections.abc import Iterable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_ct.methods.decomposition import KNOTS, Decomposition, Params, scale_of
from sde_ct.methods.frequencies import FREQUENCIES, shares, transformed
from sde_ct.methods.mirroring import Draw
from sde_ct.sampling.keys import fold
from sde_ct.types import Batch

WIDEST = 3.0  # the largest factor by which validation draws change a scale, either way
SHARED = 0.01  # weight of all pixels in the equation of each HU, which may be rare
COEFFICIENTS = ("constant", "linear", "quadratic")
AT_HU = tuple(f"{hu}_hu" for hu in KNOTS)
AT_FREQUENCY = tuple(f"{frequency}_per_pixel" for frequency in FREQUENCIES)


def spread(
    parts: Decomposition, split: Draw, params: Params, keys, batch: Batch
) -> dict[str, Array]:
    """For each HU and frequency, c, l, q of c + 2ls + qs² = 0 with the root s of the right spread.

    Two independent draws miss the CT by u₁ and u₂, where u = s r - e and e = CT - m. The mean of
    infinitely many draws has the squared error E[u₁u₂], and draws the variance E[(u₁ - u₂)²]/2.
    Both are equal where E[2u₁u₂ - (u₁² + u₂²)/2] = 0. E is a mean over valid pixels. For an HU,
    pixels are weighted by their share: 1 where m has this HU, falling linearly to 0 at the next
    of `KNOTS`. For a frequency, u is the cosine transform of all valid pixels. m belongs to a draw,
    because a draw may have the mirrored MR.

    Args:
      split: draws with the channels m and r in place of a CT.
    """
    drawn = [split(params, fold(keys, i), batch.mr[:, None]).x[:, 0] for i in (1, 2)]
    ct = parts.standard(batch.ct)
    error = [ct - x[..., :1] for x in drawn]
    rest = [x[..., 1:] for x in drawn]
    mean = (drawn[0][..., :1] + drawn[1][..., :1]) / 2
    by_hu = [batch.valid * jnp.interp(mean, parts.knots, one) for one in jnp.eye(len(KNOTS))]
    by_frequency = shares(*mean.shape[1:3])

    def of_valid(images: list[Array]) -> list[Array]:
        return [transformed(batch.valid * image) for image in images]

    figures = _equations(AT_HU, by_hu, error, rest)
    figures |= _equations(AT_FREQUENCY, by_frequency, of_valid(error), of_valid(rest))
    return {name: value / jnp.mean(batch.valid) for name, value in figures.items()}


def _equations(
    names: Iterable[str], weights: Iterable[Array], error: list[Array], rest: list[Array]
) -> dict[str, Array]:
    """The coefficients of the equation with each name, whose means have these weights."""

    def paired(a: list[Array], b: list[Array]) -> Array:
        return a[0] * b[1] + a[1] * b[0] - (a[0] * b[0] + a[1] * b[1]) / 2

    terms = paired(error, error), -paired(rest, error), paired(rest, rest)
    return {
        f"spread_{coefficient}_{name}": jnp.mean(weight * term)
        for name, weight in zip(names, weights, strict=True)
        for coefficient, term in zip(COEFFICIENTS, terms, strict=True)
    }


def scale_of_draws(losses: Mapping[str, float]) -> Float[np.ndarray, " knots"]:
    """For each HU, the scale at which draws differ as much as their mean errs; NaN without any.

    Records of earlier versions may hold one equation for all HU.
    """
    return _roots(_recorded(losses, AT_HU), SHARED)


def gains_of_draws(losses: Mapping[str, float]) -> Float[np.ndarray, " frequencies"] | None:
    """For each frequency, the gain of the residual's power that `validated` describes.

    The gains leave the power over all frequencies as it is, because the scale by HU sets that.
    None if the record has no draws, or is of an earlier version.
    """
    if f"spread_{COEFFICIENTS[0]}_{AT_FREQUENCY[0]}" not in losses:
        return None
    equations = _recorded(losses, AT_FREQUENCY)
    gains = _roots(equations, 0.0) ** 2
    if np.isnan(gains).any():
        return None
    power = equations[:, COEFFICIENTS.index("quadratic")]
    return np.clip(gains * power.sum() / (gains @ power), WIDEST**-2, WIDEST**2)


def _recorded(losses: Mapping[str, float], names: Iterable[str]) -> Float[np.ndarray, "names 3"]:
    """The coefficients of each equation; without it those of the one for all, or NaN."""
    general = [f"spread_{coefficient}" for coefficient in COEFFICIENTS]
    return np.array(
        [[losses.get(f"{c}_{name}", losses.get(c, np.nan)) for c in general] for name in names]
    )


def _roots(equations: Float[np.ndarray, "names 3"], shared: float) -> Float[np.ndarray, " names"]:
    """The positive root of each equation plus `shared` times the sum of all.

    Where there is none, it is the root of the sum, and NaN if that has none either.
    """
    everywhere = equations.sum(axis=0)
    root = _root(*(equations + shared * everywhere).T)
    return np.where(np.isnan(root), _root(*everywhere), root)


def _root(constant: np.ndarray, linear: np.ndarray, quadratic: np.ndarray) -> np.ndarray:
    """The positive s of c + 2ls + qs² = 0; NaN if there is none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        root = constant / (np.sqrt(linear**2 - constant * quadratic) - linear)
    return np.where(root > 0, root, np.nan)


def validated(params: Params, losses: Mapping[str, float]) -> Params:
    """The weights with the scale and the gains of the validation patients.

    Where draws of these patients give no scale, it follows from the regression's mean error on
    them.
    """
    usual = float(scale_of(losses["mean_error"]))
    scale = np.clip(scale_of_draws(losses), usual / WIDEST, usual * WIDEST)
    scale = np.where(np.isnan(scale), usual, scale)
    gains = gains_of_draws(losses)
    return params._replace(
        scale=jnp.asarray(scale, jnp.float32),
        gains=None if gains is None else jnp.asarray(gains, jnp.float32),
    )
