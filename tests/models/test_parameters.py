"""Layers give the results of Flax's, and run no initializer where parameters exist."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.models.layers import Conv3x3, GroupNorm
from sde_ct.models.parameters import Conv, Dense

X = jax.random.normal(jax.random.key(1), (2, 6, 6, 3))


@pytest.mark.parametrize(
    ("ours", "usual", "options"),
    [(Dense, nn.Dense, {"features": 4}), (Conv, nn.Conv, {"features": 4, "kernel_size": (3, 3)})],
)
def test_a_layer_is_flaxs_without_its_initializers(ours, usual, options):
    calls = []

    def initializer(*arguments):
        calls.append(arguments)
        return nn.initializers.lecun_normal()(*arguments)

    layer = ours(**options, kernel_init=initializer)
    parameters = layer.init(jax.random.key(0), X)
    assert len(calls) == 1
    y = layer.apply(parameters, X)
    assert len(calls) == 1  # Flax's own layer would run it once more
    expected = usual(**options).init(jax.random.key(0), X)
    for one, other in zip(*map(jax.tree.leaves, (parameters, expected)), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(y, usual(**options).apply(expected, X))


def test_a_missing_parameter_is_still_an_error():
    with pytest.raises(nn.module.errors.ScopeParamNotFoundError, match="bias"):
        Dense(4).apply({"params": {"kernel": jnp.ones((3, 4))}}, X)


@pytest.mark.parametrize(
    "layer",
    [
        GroupNorm(3),
        Conv3x3(5, jnp.float32),
        Conv3x3(5, jnp.bfloat16, grow=True),
        Conv3x3(5, jnp.float32, shrink=True),
    ],
)
def test_while_parameters_are_made_activations_have_the_right_shape_and_type(layer):
    """Later layers take the shapes of their parameters from them, though nothing is computed."""
    made, parameters = layer.init_with_output(jax.random.key(0), X)
    y = layer.apply(parameters, X)
    assert (made.shape, made.dtype) == (y.shape, y.dtype)
