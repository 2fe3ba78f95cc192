"""The residual's scale at synthesis: draws of validation patients differ as much as they err."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.config import DataConfig
from sde_ct.methods.decomposition import KNOTS, Decomposition, Params, scale_of
from sde_ct.methods.frequencies import FREQUENCIES, filtered
from sde_ct.methods.validated_scale import (
    COEFFICIENTS,
    WIDEST,
    gains_of_draws,
    scale_of_draws,
    spread,
    validated,
)
from sde_ct.models import UNet
from sde_ct.sampling.keys import slice_keys
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


def losses(split, batch: Batch) -> dict[str, float]:
    figures = spread(PARTS, split, None, KEYS, batch)
    mean_error = jnp.mean(jnp.abs(PARTS.standard(batch.ct))[batch.valid > 0])
    return {name: float(value) for name, value in figures.items()} | {"mean_error": mean_error}


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_the_scale_is_that_of_the_error(width):
    """Draws of N(0, w²) and errors of N(0, 0.3²) agree at s = 0.3/w; 16384 pixels give 1 %."""
    found = scale_of_draws(losses(drawn(width), patients(0.3)))
    np.testing.assert_allclose(found, 0.3 / width, rtol=0.03)


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

    found = scale_of_draws(losses(split, batch))
    # 1 % of all pixels takes part at each knot, which raises the first scale by 4 %.
    np.testing.assert_allclose(found[[fat, bone]], [0.2, 0.6], rtol=0.06)
    # Knots without pixels have the scale of all: √((0.2² + 0.6²)/2).
    rest = np.delete(found, [fat, bone])
    np.testing.assert_allclose(rest, np.sqrt(0.2), rtol=0.03)
    params = Params(None, None, jnp.asarray(found, jnp.float32))
    between = (PARTS.knots[fat] + PARTS.knots[fat + 1]) / 2
    ct = PARTS.ct(params, jnp.array([PARTS.knots[bone], between]), jnp.ones(2))
    scale = PARTS.standard(ct) - jnp.array([PARTS.knots[bone], between])
    np.testing.assert_allclose(scale, [found[bone], found[fat : fat + 2].mean()], rtol=1e-4)


def test_the_spread_is_the_error_of_the_mean():
    """Also where draws share a part, and where the mean belongs to the draw."""
    batch, split = patients(0.3), drawn(1.0, shared=0.4, moved=0.1)
    figures = losses(split, batch)
    of_all = {
        f"spread_{name}": sum(figures[f"spread_{name}_{hu}_hu"] for hu in KNOTS)
        for name in COEFFICIENTS
    }
    s = scale_of_draws(of_all)[0]
    first, second = (
        np.asarray(
            split(None, jax.vmap(jax.random.fold_in, (0, None))(KEYS, i), batch.mr[:, None]).x
        )
        for i in (1, 2)
    )
    ct, valid = PARTS.standard(batch.ct), np.asarray(batch.valid)
    u = [x[:, 0, ..., :1] + s * x[:, 0, ..., 1:] - ct for x in (first, second)]
    squared_error, variance = (
        np.average(x, weights=valid) for x in (u[0] * u[1], (u[0] - u[1]) ** 2 / 2)
    )
    assert squared_error == pytest.approx(variance, rel=1e-4)  # float32 sums
    # E[u₁u₂] = 0.3² + 0.4² s², and the variance is s² + 0.1²; sampling gives s to 2 %.
    assert s == pytest.approx(np.sqrt((0.3**2 - 0.1**2) / (1 - 0.4**2)), rel=0.05)


def test_draws_that_only_share_do_not_set_the_scale():
    """Draws that agree with each other cannot be widened; they keep a scale within the limit."""
    figures = losses(drawn(0.1, shared=1.0), patients(0.3))
    scale = validated(Params(None, None, jnp.ones(())), figures).scale
    usual = float(scale_of(figures["mean_error"]))
    rounding = 1e-6  # of float32
    assert (scale >= usual / WIDEST * (1 - rounding)).all()
    assert (scale <= usual * WIDEST * (1 + rounding)).all()


@pytest.mark.parametrize(
    "figures", [{}, {"spread_constant": 1.0, "spread_linear": np.nan, "spread_quadratic": -1.0}]
)
def test_without_draws_the_scale_is_that_of_the_mean_error(figures):
    """An earlier version's checkpoint has no figures of draws; an untrained denoiser's are NaN."""
    params = validated(Params(None, None, jnp.ones(())), {"mean_error": 0.2, **figures})
    np.testing.assert_allclose(params.scale, 0.2 * np.sqrt(np.pi / 2), rtol=1e-6)


def test_a_record_of_one_scale_keeps_it():
    """Earlier versions recorded one equation for all pixels; here 4 - 2s - 2s² = 0."""
    figures = {"spread_constant": 4.0, "spread_linear": -1.0, "spread_quadratic": -2.0}
    np.testing.assert_allclose(scale_of_draws(figures), 1.0, rtol=1e-6)


def test_a_scale_beyond_the_limit_is_not_taken():
    """Draws that hardly differ would need a scale 30 times as large."""
    figures = losses(drawn(0.01), patients(0.3))
    scale = validated(Params(None, None, jnp.ones(())), figures).scale
    np.testing.assert_allclose(scale, WIDEST * scale_of(figures["mean_error"]), rtol=1e-6)


def smooth(images, power):
    """White images filtered to a power per frequency."""
    return filtered(images, jnp.asarray(power))


ERROR_POWER = (9.0, 9.0, 4.0, 1.0, 0.5)  # of the errors, where draws are white


def test_draws_get_the_spectrum_of_the_errors():
    """White draws take the power of coloured errors at each frequency, up to a common factor.

    The valid pixels of 8 images have about 60 coefficients nearest to the lowest frequency, whose
    power is known to 20 %, and the edge of the valid half mixes neighbouring frequencies.
    """
    white = jax.random.normal(jax.random.key(9), SHAPE)
    errors = 0.3 * smooth(white, ERROR_POWER)
    valid = patients(1.0).valid
    batch = Batch(jnp.zeros(SHAPE), PARTS.data.ct_mean + PARTS.data.ct_std * errors, valid)
    figures = losses(drawn(1.0), batch)
    params = validated(Params(None, None, jnp.ones(())), figures)
    expected = np.array(ERROR_POWER) / ERROR_POWER[3]
    np.testing.assert_allclose(params.gains / params.gains[3], expected, rtol=0.4)
    # The CT's deviation from m has the standard deviation of the errors, because the gains leave
    # the power as it is and the scale sets it.
    r = jax.random.normal(jax.random.key(5), SHAPE)
    deviation = PARTS.standard(PARTS.ct(params, jnp.zeros(SHAPE), r))
    assert deviation.std() == pytest.approx(float(errors.std()), rel=0.05)
    np.testing.assert_allclose(params.gains, gains_of_draws(figures), rtol=1e-6)


def test_draws_with_the_right_spectrum_keep_it():
    """Gains of 1; sampling gives those of the lowest frequencies to 20 %."""
    gains = gains_of_draws(losses(drawn(1.0), patients(0.3)))
    np.testing.assert_allclose(gains, np.ones(len(FREQUENCIES)), rtol=0.4)
    np.testing.assert_allclose(gains[3:], 1.0, rtol=0.05)


def test_records_of_earlier_versions_have_no_gains():
    """Their networks draw as they did, and keep the hash of their weights."""
    figures = {"mean_error": 0.2, "spread_constant": 4.0, "spread_linear": -1.0}
    assert (
        validated(Params(None, None, jnp.ones(())), figures | {"spread_quadratic": -2.0}).gains
        is None
    )
    assert gains_of_draws({}) is None
    untrained = {name: np.nan for name in losses(drawn(1.0), patients(0.3))}
    assert gains_of_draws(untrained) is None


def test_gains_stay_within_the_limit():
    """Errors without any power at high frequencies would leave nothing of the draws there."""
    white = jax.random.normal(jax.random.key(9), SHAPE)
    errors = smooth(white, (1.0, 1.0, 1.0, 1e-6, 1e-6))
    batch = Batch(
        jnp.zeros(SHAPE), PARTS.data.ct_mean + PARTS.data.ct_std * errors, jnp.ones(SHAPE)
    )
    gains = gains_of_draws(losses(drawn(1.0), batch))
    assert gains.min() == pytest.approx(WIDEST**-2) and gains.max() <= WIDEST**2
