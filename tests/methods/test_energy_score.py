"""The score that teaches a network to draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.methods.energy_score import DETAIL_WEIGHT, SMALL, distance, energy_score

SHAPE = (4096, 10, 10, 1)


def smooth(key) -> jax.Array:
    """Images whose pixels have unit variance; neighbours have a correlation of about .7."""
    wide = jax.random.normal(key, (SHAPE[0], SHAPE[1] + 2, SHAPE[2] + 2, 1))
    blurred = sum(wide[:, i : i + 10, j : j + 10] for i in range(3) for j in range(3))
    return blurred / 3


def test_distance_of_a_constant_difference():
    """Pixels and both patches have the norm 2, and there is no detail but the root's `SMALL`."""
    d = distance(jnp.full((2, 12, 12, 1), -2.0))
    np.testing.assert_allclose(d, 3 * 2.0 + DETAIL_WEIGHT * np.sqrt(SMALL), rtol=1e-5)


@pytest.mark.parametrize("law", ["narrow", "wide", "shifted", "white"])
def test_draws_from_another_law_score_worse(law):
    """Also white ones, whose pixels have the right law each. Scores are paired by their noise, so
    that 4096 images show a difference of a hundredth."""
    data, first, second, *white = jax.random.split(jax.random.key(0), 5)
    images, draws = smooth(data), jnp.stack([smooth(first), smooth(second)])
    other = {
        "narrow": lambda: 0.7 * draws,
        "wide": lambda: 1.3 * draws,
        "shifted": lambda: draws + 0.3,
        "white": lambda: jnp.stack([jax.random.normal(key, SHAPE) for key in white]),
    }[law]()
    valid = jnp.ones(SHAPE)
    right, wrong = (float(energy_score(x, images, valid)) for x in (draws, other))
    assert wrong > right + 0.01


def test_pixels_that_are_not_valid_do_not_count():
    images, draws = jnp.zeros((1, 8, 8, 1)), jnp.ones((2, 1, 8, 8, 1))
    valid = jnp.ones((1, 8, 8, 1)).at[:, 5:].set(0.0)
    changed = images.at[:, 5:].set(7.0)
    assert energy_score(draws, images, valid) == energy_score(draws, changed, valid)
