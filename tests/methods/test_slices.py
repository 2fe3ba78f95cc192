"""Functions of slices, applied to volumes in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.methods import slices
from sde_ct.methods.slices import by_slices


@pytest.mark.parametrize(
    ("depth", "pixels", "each"),
    [(8, 64, 8), (5, 64, 5), (24, 64, 8), (24, 16, 4), (5, 16, 1), (6, 16, 3), (8, 1, 1)],
)
def test_parts_are_as_large_as_the_pixels_allow_and_change_nothing(
    depth, pixels, each, monkeypatch
):
    """Slices of 2 x 2 pixels; the parts divide the depth. No tolerance: each slice is alone."""
    monkeypatch.setattr(slices, "PIXELS", pixels)
    seen = []

    def function(x, keys):
        seen.append(len(x))
        noise = jax.vmap(lambda key: jax.random.normal(key, ()))(keys)
        return x[..., :1] + noise[:, None, None, None]

    volumes = jax.random.normal(jax.random.key(0), (3, depth, 2, 2, 2))
    keys = jax.random.split(jax.random.key(1), 3 * depth).reshape(3, depth)
    made = by_slices(function, volumes, keys)
    noise = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, ())))(keys)
    assert seen[-1] == 3 * each
    np.testing.assert_array_equal(made, volumes[..., :1] + noise[..., None, None, None])
    assert made.dtype == jnp.float32
