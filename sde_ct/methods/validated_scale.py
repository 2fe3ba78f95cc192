"""The residual's scale, spectrum and tails at synthesis, from draws of the validation patients.

Networks err less on the patients that they have learnt from than on others, and the difference is
largest in smooth errors, which span several pixels. Draws imitate the residuals of training
patients. For other patients they therefore differ too little, and their differences are too fine.
A network that was trained for a short time also draws too much noise everywhere and too few large
residuals. Where there are validation patients, synthesis corrects all three. The scale s depends on
the HU of the regression. The residual's power has a gain that depends on spatial frequency. Its
magnitude is raised to an exponent, which is above 1 where its tails are too light.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sde_ct.methods.decomposition import (
    KNOTS,
    Decomposition,
    Params,
    Shape,
    raised,
    scale_of,
)
from sde_ct.methods.frequencies import FREQUENCIES, filtered, shares, transformed
from sde_ct.methods.spread_equation import Two, coefficients, roots
from sde_ct.types import Batch

WIDEST = 3.0  # the largest factor by which validation draws change a scale, either way
SHARED = 0.01  # weight of all pixels in the equation of each HU, which may be rare
EXPONENTS = (0.5, 2.0)  # their range
PRECISION = 0.01  # of the exponent
AT_HU = tuple(f"draw_scale_{hu}_hu" for hu in KNOTS)
AT_FREQUENCY = tuple(f"draw_gain_{frequency}_per_pixel" for frequency in FREQUENCIES)
EXPONENT = "draw_exponent"

Images = Float[np.ndarray, "n h w 1"]


def measured(
    parts: Decomposition, drawn: Float[np.ndarray, "2 n h w 2"], batch: Batch
) -> dict[str, float]:
    """The figures of two draws of each validation slice for `validated`; {} if one is not finite.

    For an HU, the spread is that of pixels weighted by their share: 1 where m has this HU, falling
    linearly to 0 at the next of `KNOTS`. For a frequency, it is that of the cosine transform of
    valid pixels. The gains leave the power over all frequencies as it is. The exponent is the one
    with the lowest CRPS, where every exponent has the scale that makes the spread right.

    Args:
      drawn: the channels m and r. m belongs to a draw, because a draw may have the mirrored MR.
      batch: the CT and where it is valid; the MR is not needed.
    """
    mean, rest = drawn[..., :1], drawn[..., 1:]
    ct, valid = np.asarray(parts.standard(batch.ct)), np.asarray(batch.valid)
    gains = _gains(ct - mean, rest, valid)
    rest = np.asarray(filtered(rest, jnp.asarray(gains, jnp.float32)))
    knots, here = np.asarray(parts.knots), mean.mean(axis=0)
    weights = [valid * np.interp(here, knots, one) for one in np.eye(len(knots))]

    def scaled(exponent: float) -> tuple[Two, Float[np.ndarray, " knots"]]:
        shaped = np.asarray(raised(rest, exponent))
        scale = roots(coefficients(ct - mean, shaped, weights), SHARED)
        return mean + np.interp(mean, knots, scale) * shaped, scale

    def crps(exponent: float) -> float:
        """Of two draws, in units of ct_std, times the share of valid pixels."""
        x, _ = scaled(exponent)
        errors, apart = np.abs(x - ct).mean(axis=0), np.abs(x[0] - x[1])
        return float(np.mean(valid * (errors - apart / 2)))

    from scipy.optimize import minimize_scalar  # it takes long to import

    search = {"method": "bounded", "bounds": EXPONENTS, "options": {"xatol": PRECISION}}
    exponent = float(minimize_scalar(crps, **search).x)
    names = (*AT_HU, *AT_FREQUENCY, EXPONENT)
    values = map(float, (*scaled(exponent)[1], *gains, exponent))
    figures = dict(zip(names, values, strict=True))
    return figures if np.isfinite(list(figures.values())).all() else {}


def _gains(error: Two, rest: Two, valid: Images) -> Float[np.ndarray, " frequencies"]:
    """The gain of the residual's power at each frequency."""
    error, rest = (np.asarray(transformed(valid * images)) for images in (error, rest))
    equations = coefficients(error, rest, shares(*error.shape[2:4]))
    gains, power = roots(equations) ** 2, equations[:, 2]
    return np.clip(gains * power.sum() / (gains @ power), WIDEST**-2, WIDEST**2)


def validated(params: Params, losses: Mapping[str, float]) -> Params:
    """The weights with the residual's scale, gains and exponent of the validation patients.

    Where draws of these patients give no scale, it follows from the regression's mean error on
    them.
    """
    usual = float(scale_of(losses["mean_error"]))
    scale = np.clip(scale_of_draws(losses), usual / WIDEST, usual * WIDEST)
    scale = np.where(np.isnan(scale), usual, scale)
    return params._replace(scale=jnp.asarray(scale, jnp.float32), shape=shape_of_draws(losses))


def scale_of_draws(losses: Mapping[str, float]) -> Float[np.ndarray, " knots"]:
    """The scale at each of `KNOTS`; NaN if the record has none.

    Earlier versions recorded equations, one for each HU or one for all.
    """
    if AT_HU[0] in losses:
        return np.array([losses[name] for name in AT_HU])
    names = [f"spread_{name}" for name in ("constant", "linear", "quadratic")]
    equations = [
        [losses.get(f"{name}_{hu}_hu", losses.get(name, np.nan)) for name in names] for hu in KNOTS
    ]
    return roots(np.array(equations), SHARED)


def shape_of_draws(losses: Mapping[str, float]) -> Shape | None:
    """The gains and the exponent; None if the record has none, as those of earlier versions."""
    if EXPONENT not in losses:
        return None
    gains = jnp.asarray([losses[name] for name in AT_FREQUENCY], jnp.float32)
    return Shape(gains, jnp.float32(losses[EXPONENT]))
