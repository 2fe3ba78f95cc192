"""The residual at synthesis: draws of validation patients differ as much as they err."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.config import DataConfig
from sde_ct.frequencies import FREQUENCIES, shares
from sde_ct.methods.decomposition import KNOTS, Decomposition, Params, raised, scale_of
from sde_ct.methods.validated_scale import (
    AT_FREQUENCY,
    EXPONENT,
    WIDEST,
    measured,
    scale_of_draws,
    shape_of_draws,
    validated,
)
from sde_ct.models import UNet
from sde_ct.sampling.cosine import filtered, transformed
from sde_ct.sampling.keys import fold, slice_keys
from sde_ct.types import Batch, Samples

PARTS = Decomposition(UNet(), DataConfig())
SHAPE = (8, 64, 64, 1)
KEYS = slice_keys(0, 0, jnp.zeros(8, int), jnp.arange(8))


def drawn(width: float, shared: float = 0.0, moved: float = 0.0):
    """Draws of the residual: noise of this width, a part that all draws share, and a mean m.

    m is moved by ± `moved`, as it differs between an MR and its mirror image.
    """

    def split(params, keys, mr, along_z=None) -> Samples:
        def one(key):
            sign = jax.random.rademacher(jax.random.fold_in(key, 1), (), jnp.float32)
            return sign * moved, width * jax.random.normal(key, mr.shape[1:])

        m, r = jax.vmap(one)(keys)
        r = r + shared * jax.random.normal(jax.random.key(3), mr.shape)
        m = jnp.broadcast_to(m[:, None, None, None, None], r.shape)
        return Samples(jnp.concatenate([m, r], -1), jnp.ones(len(mr)), jnp.ones(len(mr), bool))

    return split


def patients(error: float) -> Batch:
    """CT = ct_mean + ct_std · e with e ~ N(0, error²) in the upper half, which alone is valid."""
    valid = jnp.ones(SHAPE).at[:, 32:].set(0.0)
    noise = error * jax.random.normal(jax.random.key(9), SHAPE)
    ct = PARTS.data.ct_mean + PARTS.data.ct_std * jnp.where(valid > 0, noise, 100.0)
    return Batch(jnp.zeros(SHAPE), ct, valid)


def two(split, batch: Batch) -> np.ndarray:
    return np.stack(
        [np.asarray(split(None, fold(KEYS, i), batch.mr[:, None]).x[:, 0]) for i in (1, 2)]
    )


def losses(split, batch: Batch) -> dict[str, float]:
    mean_error = jnp.mean(jnp.abs(PARTS.standard(batch.ct))[batch.valid > 0])
    return measured(PARTS, two(split, batch), batch) | {"mean_error": float(mean_error)}


def deviation(params: Params, mean, residual) -> np.ndarray:
    """What a residual adds to m, in units of ct_std."""
    mean, residual = jnp.asarray(mean, jnp.float32), jnp.asarray(residual)
    return np.asarray(PARTS.standard(PARTS.ct(params, mean, residual)) - mean)


NOISE = jax.random.normal(jax.random.key(5), SHAPE)
NO_PARAMS = Params(None, None, jnp.ones(()))


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_draws_vary_as_the_errors_do(width):
    """Draws of N(0, w²) and errors of N(0, 0.3²); 16384 pixels give 1 %.

    Both are normal, and the CRPS, which is flat there, gives the exponent 1 to 0.1.
    """
    params = validated(NO_PARAMS, losses(drawn(width), patients(0.3)))
    added = deviation(params, jnp.zeros(SHAPE), width * NOISE)
    assert added.std() == pytest.approx(0.3, rel=0.03)
    assert params.shape.exponent == pytest.approx(1.0, abs=0.1)


def test_each_knot_has_the_scale_of_the_errors_there():
    """m is at fat in one half of the pixels and at bone in the other, and errs three times as much.

    Between two knots the scale is linear. 8192 pixels each give 1 %.
    """
    fat, bone = KNOTS.index(-90), KNOTS.index(400)
    at_bone = jnp.arange(64)[:, None] % 2  # of columns, each half valid
    mean = jnp.where(at_bone, PARTS.knots[bone], PARTS.knots[fat])
    error = jnp.where(at_bone, 0.6, 0.2) * jax.random.normal(jax.random.key(9), SHAPE)
    batch = Batch(jnp.zeros(SHAPE), PARTS.data.ct_mean + PARTS.data.ct_std * (mean + error),
                  patients(1.0).valid)  # fmt: skip

    def split(*arguments) -> Samples:
        samples = drawn(1.0)(*arguments)
        return samples._replace(x=samples.x.at[..., :1].add(mean))

    figures = losses(split, batch) | {"mean_error": 0.32}  # √(2/π) · (0.2 + 0.6)/2
    params = validated(NO_PARAMS, figures)
    added = deviation(params, jnp.broadcast_to(mean, SHAPE), NOISE)
    # 1 % of all pixels takes part at each knot, which raises the first scale by 4 %.
    found = [added[:, :, which::2].std() for which in (0, 1)]
    np.testing.assert_allclose(found, [0.2, 0.6], rtol=0.06)
    # Knots without pixels have the scale of all: √((0.2² + 0.6²)/2).
    rest = np.delete(params.scale, [fat, bone]) / params.scale[bone]
    np.testing.assert_allclose(rest, np.sqrt(0.2) / 0.6, rtol=0.06)
    between = (PARTS.knots[fat] + PARTS.knots[fat + 1]) / 2
    unshaped = params._replace(shape=None)
    scale = deviation(unshaped, [PARTS.knots[bone], between], jnp.ones(2))
    expected = params.scale[bone], params.scale[fat : fat + 2].mean()
    np.testing.assert_allclose(scale, expected, rtol=1e-4)


def test_the_spread_is_the_error_of_the_mean():
    """Also where draws share a part, and where the mean belongs to the draw.

    The two draws then have E[u₁u₂] = E[(u₁ - u₂)²]/2 over all pixels.
    """
    batch, split = patients(0.3), drawn(1.0, shared=0.4, moved=0.1)
    params = validated(NO_PARAMS, losses(split, batch))
    ct, valid = PARTS.standard(batch.ct), np.asarray(batch.valid)
    pair = two(split, batch)
    u = [m + deviation(params, m, r) - ct for m, r in ((x[..., :1], x[..., 1:]) for x in pair)]
    squared_error, variance = (
        np.average(x, weights=valid) for x in (u[0] * u[1], (u[0] - u[1]) ** 2 / 2)
    )
    # The sums over knots are weighted by scales that differ by a few per cent.
    assert squared_error == pytest.approx(variance, rel=0.02)
    # E[u₁u₂] = 0.3² + 0.4² s², and the variance is s² + 0.1²; sampling gives s to 2 %.
    s = np.sqrt(np.average((u[0] - u[1]) ** 2 / 2, weights=valid) - 0.1**2)
    assert s == pytest.approx(np.sqrt((0.3**2 - 0.1**2) / (1 - 0.4**2)), rel=0.05)


def test_draws_that_only_share_do_not_set_the_scale():
    """Draws that agree with each other cannot be widened; they keep a scale within the limit."""
    figures = losses(drawn(0.1, shared=1.0), patients(0.3))
    scale = validated(NO_PARAMS, figures).scale
    usual = float(scale_of(figures["mean_error"]))
    rounding = 1e-6  # of float32
    assert (scale >= usual / WIDEST * (1 - rounding)).all()
    assert (scale <= usual * WIDEST * (1 + rounding)).all()


@pytest.mark.parametrize(
    "figures", [{}, {"spread_constant": 1.0, "spread_linear": np.nan, "spread_quadratic": -1.0}]
)
def test_without_draws_the_scale_is_that_of_the_mean_error(figures):
    """An earlier version's checkpoint has no figures of draws; an untrained denoiser's are NaN."""
    params = validated(NO_PARAMS, {"mean_error": 0.2, **figures})
    np.testing.assert_allclose(params.scale, 0.2 * np.sqrt(np.pi / 2), rtol=1e-6)


def test_a_record_of_one_scale_keeps_it():
    """Earlier versions recorded one equation for all pixels; here 4 - 2s - 2s² = 0."""
    figures = {"spread_constant": 4.0, "spread_linear": -1.0, "spread_quadratic": -2.0}
    np.testing.assert_allclose(scale_of_draws(figures), 1.0, rtol=1e-6)


def test_a_scale_beyond_the_limit_is_not_taken():
    """Draws that hardly differ would need a scale 30 times as large."""
    figures = losses(drawn(0.01), patients(0.3))
    scale = validated(NO_PARAMS, figures).scale
    np.testing.assert_allclose(scale, WIDEST * scale_of(figures["mean_error"]), rtol=1e-6)


ERROR_POWER = (9.0, 9.0, 4.0, 1.0, 0.5)  # of the errors at `FREQUENCIES`, where draws are white


def erring(errors, valid=1.0) -> Batch:
    """Patients with these errors of m = 0, in units of ct_std."""
    ct = PARTS.data.ct_mean + PARTS.data.ct_std * errors
    return Batch(jnp.zeros(SHAPE), ct, jnp.broadcast_to(valid, SHAPE))


def test_draws_get_the_spectrum_of_the_errors():
    """White draws take the power of coloured errors at each frequency, up to a common factor.

    The valid pixels of 8 images have about 60 coefficients nearest to the lowest frequency, whose
    power is known to 20 %, and the edge of the valid half mixes neighbouring frequencies.
    """
    white = jax.random.normal(jax.random.key(9), SHAPE)
    errors = 0.3 * filtered(white, jnp.array(ERROR_POWER))
    params = validated(NO_PARAMS, losses(drawn(1.0), erring(errors, patients(1.0).valid)))
    gains = params.shape.gains
    np.testing.assert_allclose(gains / gains[3], ERROR_POWER, rtol=0.4)
    # The gains leave the power as it is, and the scale sets it.
    added = deviation(params, jnp.zeros(SHAPE), NOISE)
    assert added.std() == pytest.approx(float(errors.std()), rel=0.05)


def test_the_exponent_and_the_scale_leave_the_spectrum():
    """Heavy tails need an exponent of about 1.5, which divides the power more evenly.

    The errors have 43 % of their power at the three lowest frequencies. Gains that are measured
    before the exponent is known leave the draws with 37 % there.
    """
    white = jax.random.normal(jax.random.key(9), SHAPE)
    coloured = filtered(white, jnp.array(ERROR_POWER))
    errors = 0.3 * coloured * jnp.sqrt(jnp.abs(coloured))
    split, batch = drawn(1.0), erring(errors)
    params = validated(NO_PARAMS, losses(split, batch))
    assert params.shape.exponent > 1.2

    def smooth(images) -> float:
        power = np.asarray(transformed(images)) ** 2
        return float((power * shares(*SHAPE[1:3])[:3].sum(axis=0)[..., None]).sum() / power.sum())

    (m, r), _ = ((x[..., :1], x[..., 1:]) for x in two(split, batch))
    assert smooth(deviation(params, m, r)) == pytest.approx(smooth(errors), abs=0.03)


def test_air_around_the_body_does_not_change_the_gains():
    """The lower half is air, where errors are white like the draws.

    The gains are those of the upper half alone, up to the change of the exponent. With the power of
    the air they would lie nearer to 1, and those of the lowest frequencies would halve.
    """
    white = jax.random.normal(jax.random.key(9), SHAPE)
    body = jnp.ones(SHAPE).at[:, 32:].set(0.0)
    air = float(PARTS.in_units(-1000.0)) * (1 - body)
    errors = 0.3 * jnp.where(body > 0, filtered(white, jnp.array(ERROR_POWER)), white)

    def split(*arguments) -> Samples:
        samples = drawn(1.0)(*arguments)
        return samples._replace(x=samples.x.at[..., :1].add(air[:, None]))

    whole, alone = (
        shape_of_draws(losses(split, erring(air + errors, valid))).gains for valid in (1.0, body)
    )
    np.testing.assert_allclose(whole, alone, rtol=0.1)


def test_draws_with_the_right_spectrum_keep_it():
    """Gains of 1; sampling gives those of the lowest frequencies to 25 %."""
    gains = shape_of_draws(losses(drawn(1.0), patients(0.3))).gains
    np.testing.assert_allclose(gains, np.ones(len(FREQUENCIES)), rtol=0.5)
    np.testing.assert_allclose(gains[3:], 1.0, rtol=0.05)


def test_gains_stay_within_the_limit():
    """Errors without any power at high frequencies would leave nothing of the draws there."""
    white = jax.random.normal(jax.random.key(9), SHAPE)
    errors = filtered(white, jnp.array([1.0, 1.0, 1.0, 1e-6, 1e-6]))
    figures = losses(drawn(1.0), erring(errors))
    gains = [figures[name] for name in AT_FREQUENCY]
    assert min(gains) == pytest.approx(WIDEST**-2) and max(gains) <= WIDEST**2


def test_errors_with_heavy_tails_give_draws_an_exponent_above_one():
    """Draws of a normal z, and errors z|z|^0.5: the CRPS finds the exponent 1.5 to 0.1."""
    white = jax.random.normal(jax.random.key(9), SHAPE)
    figures = losses(drawn(1.0), erring(0.3 * white * jnp.sqrt(jnp.abs(white))))
    assert figures[EXPONENT] == pytest.approx(1.5, abs=0.1)
    params = validated(NO_PARAMS, figures)
    added = deviation(params, jnp.zeros(SHAPE), NOISE)
    # |error| < 0.1 where |z| < (1/3)^(2/3).
    assert (np.abs(added) < 0.1).mean() == pytest.approx(0.3693, abs=0.02)


def test_records_of_earlier_versions_leave_the_shape():
    """Their networks draw as they did, and keep the hash of their weights."""
    figures = {"spread_constant": 4.0, "spread_linear": -1.0, "spread_quadratic": -2.0}
    assert validated(NO_PARAMS, figures | {"mean_error": 0.2}).shape is None


def test_draws_that_are_not_finite_give_no_figures():
    drawings = np.full((2, *SHAPE[:3], 2), np.nan)
    assert measured(PARTS, drawings, patients(0.3)) == {}


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_an_exponent_keeps_the_ratio_of_residuals(exponent):
    """Twice the residual gives twice the result, and no residual gives none, up to rounding."""
    one = raised(NOISE, exponent)
    np.testing.assert_allclose(raised(2 * NOISE, exponent), 2 * one, rtol=1e-5)
    np.testing.assert_array_equal(raised(jnp.zeros(SHAPE), exponent), 0.0)
    if exponent == 1:
        np.testing.assert_allclose(one, NOISE, rtol=1e-5)
