"""The residual's scale at synthesis: draws of validation patients differ as much as they err."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.config import DataConfig
from sde_ct.methods.decomposition import (
    WIDEST,
    Decomposition,
    Params,
    scale_of,
    scale_of_draws,
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
    """CT = ct_std · e with e ~ N(0, error²) in the upper half, which alone is valid."""
    valid = jnp.ones(SHAPE).at[:, 32:].set(0.0)
    noise = error * jax.random.normal(jax.random.key(9), SHAPE)
    ct = PARTS.data.ct_mean + PARTS.data.ct_std * jnp.where(valid > 0, noise, 100.0)
    return Batch(jnp.zeros(SHAPE), ct, valid)


def losses(split, batch: Batch) -> dict[str, float]:
    spread = PARTS.spread(split, None, KEYS, batch)
    mean_error = jnp.mean(jnp.abs(PARTS.standard(batch.ct))[batch.valid > 0])
    return {name: float(value) for name, value in spread.items()} | {"mean_error": mean_error}


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_the_scale_is_that_of_the_error(width):
    """Draws of N(0, w²) and errors of N(0, 0.3²) agree at s = 0.3/w; 16384 pixels give 1 %."""
    assert scale_of_draws(losses(drawn(width), patients(0.3))) == pytest.approx(
        0.3 / width, rel=0.03
    )


def test_the_spread_is_the_error_of_the_mean():
    """Also where draws share a part, and where the mean belongs to the draw."""
    batch, split = patients(0.3), drawn(1.0, shared=0.4, moved=0.1)
    s = scale_of_draws(losses(split, batch))
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
    scale = float(validated(Params(None, None, jnp.ones(())), figures).scale)
    usual = float(scale_of(figures["mean_error"]))
    assert usual / WIDEST <= scale <= usual * WIDEST


@pytest.mark.parametrize(
    "figures", [{}, {"spread_constant": 1.0, "spread_linear": np.nan, "spread_quadratic": -1.0}]
)
def test_without_draws_the_scale_is_that_of_the_mean_error(figures):
    """An earlier version's checkpoint has no figures of draws; an untrained denoiser's are NaN."""
    params = validated(Params(None, None, jnp.ones(())), {"mean_error": 0.2, **figures})
    assert float(params.scale) == pytest.approx(0.2 * np.sqrt(np.pi / 2), rel=1e-6)


def test_a_scale_beyond_the_limit_is_not_taken():
    """Draws that hardly differ would need a scale 30 times as large."""
    figures = losses(drawn(0.01), patients(0.3))
    scale = float(validated(Params(None, None, jnp.ones(())), figures).scale)
    assert scale == pytest.approx(WIDEST * float(scale_of(figures["mean_error"])), rel=1e-6)
