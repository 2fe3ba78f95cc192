"""Volumes evaluated in windows along z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.methods import windows
from sde_ct.methods.windows import by_windows
from sde_ct.models import UNet

REACH = 3


def blurred(x):
    """The sum over the slices within `REACH`; beyond its ends a volume is zero."""
    padded = jnp.pad(x, [(0, 0), (REACH, REACH)] + (x.ndim - 2) * [(0, 0)])
    return sum(padded[:, i : i + x.shape[1]] for i in range(2 * REACH + 1))


@pytest.mark.parametrize("depth", [8, 14, 15, 16, 40, 85])
def test_windows_give_what_the_whole_volume_gives(depth, monkeypatch):
    monkeypatch.setattr(windows, "LARGE", 0)
    x = np.random.default_rng(depth).normal(size=(2, depth, 3, 2, 1)).astype(np.float32)
    calls = []

    def function(x):
        calls.append(x.shape[1])
        return blurred(x)

    found = by_windows(function, REACH, x)
    np.testing.assert_allclose(found, blurred(x), atol=1e-5)  # float32 sums of seven
    assert calls == [min(depth, windows.CORE + 2 * REACH)]


@pytest.mark.parametrize("multipliers", [(1,), (1, 1)])
def test_a_network_sees_as_far_as_it_says(multipliers):
    """A change of one slice changes those within `reach`, and no others.

    In the farther half of the reach, the change may be too small for float32.
    """
    network = UNet(channels=4, multipliers=multipliers, blocks=1, groups=2, depth=80)
    x, noise = jnp.zeros((80, 4, 4, 1)), jnp.zeros(80)
    params = network.init(jax.random.key(0), x, noise)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    random = [jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    apply = jax.jit(network.apply)
    params, other = (
        jax.tree.unflatten(tree, random),
        x.at[40].set(jax.random.normal(keys[0], x[0].shape)),
    )
    changed = apply(params, other, noise) - apply(params, x, noise)
    rows = np.flatnonzero(np.abs(changed).max(axis=(1, 2, 3)) > 0)
    assert network.reach / 2 <= 40 - rows.min() <= network.reach
    assert network.reach / 2 <= rows.max() - 40 <= network.reach
