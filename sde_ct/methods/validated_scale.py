"""The residual's scale, spectrum and tails at synthesis, from draws of the validation patients.

Networks err less on the patients that they have learnt from than on others, and the difference is
largest in smooth errors, which span several pixels. Draws imitate the residuals of training
patients. For other patients they therefore differ too little, and their differences are too fine.
A network that was trained for a short time also draws too much noise everywhere and too few large
residuals. If there are validation patients, synthesis corrects scale, spectrum and tails. The scale
s depends on the HU of the regression. The residual's power has a gain that depends on spatial
frequency. Its magnitude is raised to an exponent, which is above 1 where its tails are too light.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from sde_ct.frequencies import FREQUENCIES, shares
from sde_ct.methods.decomposition import (
    KNOTS,
    Decomposition,
    Params,
    Shape,
    raised,
    scale_of,
)
from sde_ct.methods.patient_effect import AXIS, effect_of, measured_effect
from sde_ct.methods.spread_equation import Two, coefficients, roots
from sde_ct.sampling.cosine import filtered, transformed
from sde_ct.types import Batch

WIDEST = 3.0  # the largest factor by which validation draws change a scale, either way
SHARED = 0.01  # weight of all pixels in the equation of each HU, which may be rare
EXPONENTS = (0.5, 2.0)  # the smallest and the largest
PRECISION = 0.03  # of the exponent
ROUNDS = 2  # of fitting the gains and then the exponent
BODY_ABOVE = -500.0  # HU of the regression
AT_HU = tuple(f"draw_scale_{hu}_hu" for hu in KNOTS)
AT_FREQUENCY = tuple(f"draw_gain_{frequency}_per_pixel" for frequency in FREQUENCIES)
EXPONENT = "draw_exponent"

Images = Float[np.ndarray, "n h w 1"]

# Each is compiled as one program. Otherwise JAX would compile every operation in it on its own,
# which takes seconds.
_transformed, _filtered, _raised = jax.jit(transformed), jax.jit(filtered), jax.jit(raised)


def measured(
    parts: Decomposition, drawn: Float[np.ndarray, "2 n h w 2"], batch: Batch
) -> dict[str, float]:
    """The figures for `validated` from two draws of each validation slice; {} if one is not finite.

    The scale at each of `KNOTS` gives the right spread to pixels weighted by 1 where m has this HU,
    falling linearly to 0 at the next knot. The gain at a frequency does so for the cosine transform
    of the body alone, because the air around it, which has hardly any errors, would change the
    spectrum. The gains, until they are clipped, leave the total power as it is. The exponent is the
    one with the lowest CRPS, each tried with the scale that gives the right spread. Exponent and
    scale change the spectrum too, so the gains are fitted a second time, and then exponent and
    scale.

    Args:
      drawn: the channels m and r. m belongs to a draw, because a draw may have the mirrored MR.
      batch: the CT, where it is valid, and the patients; the MR is not needed.
    """
    mean, rest = drawn[..., :1], drawn[..., 1:]
    error, here = np.asarray(parts.standard(batch.ct)) - mean, mean.mean(axis=0)
    valid, knots = np.asarray(batch.valid), np.asarray(parts.knots)
    weights = [valid * np.interp(here, knots, one).astype(np.float32) for one in np.eye(len(knots))]
    body = valid * _filled(here > float(parts.in_units(BODY_ABOVE)))

    def scaled(coloured: Two, exponent: float) -> tuple[Two, Float[np.ndarray, " knots"]]:
        """What the draws add to m, and the scale at each of `KNOTS`."""
        shaped = np.asarray(_raised(coloured, exponent))
        scale = roots(coefficients(error, shaped, weights), SHARED)
        return np.interp(mean, knots, scale).astype(np.float32) * shaped, scale

    def best(coloured: Two) -> tuple[float, Two, Float[np.ndarray, " knots"]]:
        """The exponent with the lowest CRPS, and what `scaled` returns with it."""
        exponent = _lowest(lambda one: _crps(scaled(coloured, one)[0] - error, valid))
        return exponent, *scaled(coloured, exponent)

    power = _lacking(error, rest, body)[1]
    gains, added = np.ones(len(power)), rest
    for _ in range(ROUNDS):
        gains = gains * _lacking(error, added, body)[0]
        gains = np.clip(gains * power.sum() / (gains @ power), WIDEST**-2, WIDEST**2)
        coloured = np.asarray(_filtered(rest, jnp.asarray(gains, jnp.float32)))
        exponent, added, scale = best(coloured)
    names = (*AT_HU, *AT_FREQUENCY, EXPONENT)
    figures = dict(zip(names, map(float, (*scale, *gains, exponent)), strict=True))
    if batch.patient is not None:
        axis = np.asarray(parts.in_units(np.array(AXIS)))
        figures |= measured_effect(axis, here, error - added, valid, np.asarray(batch.patient))
    return figures if np.isfinite(list(figures.values())).all() else {}


def _filled(tissue: Bool[np.ndarray, "n h w 1"]) -> Bool[np.ndarray, "n h w 1"]:
    """Tissue and what it encloses in each slice; everything if there is no tissue."""
    from scipy.ndimage import binary_fill_holes

    filled = np.stack([binary_fill_holes(one) for one in tissue[..., 0]])[..., None]
    return filled if filled.any() else ~filled


def _lacking(
    error: Two, added: Two, body: Images
) -> tuple[Float[np.ndarray, " frequencies"], Float[np.ndarray, " frequencies"]]:
    """At each frequency, the factor by which the power of draws is too low, and q of its equation.

    If two draws do not correlate, q is -1 times their power, see `spread_equation.py`.
    """
    error, added = (np.asarray(_transformed(body * images)) for images in (error, added))
    equations = coefficients(error, added, shares(*error.shape[2:4])[..., None])
    return roots(equations) ** 2, equations[:, 2]


def _crps(apart: Two, weight: Images) -> float:
    """The CRPS of two draws, which miss the CT by `apart`, times the mean weight."""
    errors, spread = np.abs(apart).mean(axis=0), np.abs(apart[0] - apart[1])
    return float(np.mean(weight * (errors - spread / 2)))


def _lowest(crps: Callable[[float], float]) -> float:
    """The exponent within `EXPONENTS` at which a function is lowest."""
    from scipy.optimize import minimize_scalar  # it takes long to import

    search = {"method": "bounded", "bounds": EXPONENTS, "options": {"xatol": PRECISION}}
    return float(minimize_scalar(crps, **search).x)


def validated(params: Params, losses: Mapping[str, float]) -> Params:
    """The weights, corrected by what draws of the validation patients lack.

    Where draws of these patients give no scale, it follows from the regression's mean error on
    them.
    """
    usual = float(scale_of(losses["mean_error"]))
    scale = np.clip(scale_of_draws(losses), usual / WIDEST, usual * WIDEST)
    scale = np.where(np.isnan(scale), usual, scale)
    return params._replace(
        scale=jnp.asarray(scale, jnp.float32),
        shape=shape_of_draws(losses),
        patient_effect=effect_of(losses),
    )


def scale_of_draws(losses: Mapping[str, float]) -> Float[np.ndarray, " knots"]:
    """The scale at each of `KNOTS`; NaN if the record has none.

    Earlier versions recorded the coefficients of a `spread_equation` instead: one equation for each
    HU, or one that holds for every HU.
    """
    if AT_HU[0] in losses:
        return np.array([losses[name] for name in AT_HU])
    names = [f"spread_{name}" for name in ("constant", "linear", "quadratic")]
    equations = [
        [losses.get(f"{name}_{hu}_hu", losses.get(name, np.nan)) for name in names] for hu in KNOTS
    ]
    return roots(np.array(equations), SHARED)


def shape_of_draws(losses: Mapping[str, float]) -> Shape | None:
    """The gains and the exponent; None if the record has none, like records of earlier versions."""
    if EXPONENT not in losses:
        return None
    gains = jnp.asarray([losses[name] for name in AT_FREQUENCY], jnp.float32)
    return Shape(gains, jnp.float32(losses[EXPONENT]))
