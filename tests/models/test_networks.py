import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sde_ct.models import PatchDiscriminator, UNet
from sde_ct.models.layers import (
    Conv3x3,
    GroupNorm,
    _normals,
    depth_to_space,
    space_to_depth,
)
from sde_ct.runtime import parallel


def randomised(params, scale=0.1):
    """Parameters without the zeros that hide what a layer does."""
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda x: x + scale * rng.normal(size=x.shape).astype(np.float32), params)


def test_the_papers_network_has_its_26_million_parameters():
    shapes = jax.eval_shape(UNet().init, jax.random.key(0), jnp.zeros((1, 64, 64, 2)), jnp.zeros(1))
    count = sum(x.size for x in jax.tree.leaves(shapes))
    assert count == pytest.approx(26.1e6, rel=0.01)  # the published figure has three digits


@pytest.mark.slow
def test_without_a_backward_pass_the_network_is_the_same_and_marks_nothing_to_recompute():
    """The same operations in the same order: no tolerance."""
    network = UNet(channels=8, multipliers=(1, 2), blocks=1, patch=2, groups=2)
    inputs = (jax.random.normal(jax.random.key(0), (1, 8, 8, 2)), jnp.ones(1))
    made = [
        parallel.seldom(one.init)(jax.random.key(1), *inputs) for one in (network, network.forward)
    ]
    jax.tree.map(np.testing.assert_array_equal, *made)
    params = randomised(made[0])
    np.testing.assert_array_equal(
        *(parallel.seldom(one.apply)(params, *inputs) for one in (network, network.forward))
    )
    for one, marked in ((network, True), (network.forward, False)):
        equations = jax.make_jaxpr(one.apply)(params, *inputs).eqns
        assert any("policy" in equation.params for equation in equations) == marked


def test_the_frequencies_are_the_same_whatever_jaxs_generator():
    first = [1.6226, 2.0253, -0.4336]  # else a checkpoint of yesterday would be another network
    np.testing.assert_allclose(_normals(32)[:3], first, atol=1e-4)
    _normals.cache_clear()
    with jax.default_prng_impl("rbg"), jax.threefry_partitionable(False):
        traced = jax.jit(lambda: _normals(32))()
    np.testing.assert_allclose(traced[:3], first, atol=1e-4)


def test_group_norm_equals_flax():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 7, 24))
    ours, theirs = GroupNorm(groups=8), nn.GroupNorm(num_groups=8, epsilon=1e-5)
    variables = randomised(ours.init(jax.random.key(1), x))
    # float32 sums of 105 values: a few parts in a million of figures of order one
    np.testing.assert_allclose(
        ours.apply(variables, x), theirs.apply(variables, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("dtype", "away", "most"), [("bfloat16", 20, 2e-3), ("float32", 20, 1e-4)])
def test_group_norm_of_values_far_from_0_keeps_its_digits(dtype, away, most):
    """Against float64, for a mean 20 standard deviations from 0.

    Rounding the result to bfloat16 alone costs 1.6e-3; a map in bfloat16 had an error of .04. The
    float32 sums cancel to a relative error of the variance of about 20² * 6e-8 * √n.
    """
    x = away + jax.random.normal(jax.random.key(0), (2, 48, 64, 32))
    x = x.astype(dtype)
    layer = GroupNorm(groups=8)
    out = layer.apply(layer.init(jax.random.key(1), x), x)
    exact = np.asarray(x.astype(jnp.float32), np.float64).reshape(2, -1, 8, 4)
    exact = (exact - exact.mean((1, 3), keepdims=True)) / exact.std((1, 3), keepdims=True)
    error = np.asarray(out.astype(jnp.float32), np.float64) - exact.reshape(x.shape)
    assert out.dtype == dtype and np.sqrt(np.mean(error**2)) < most


@pytest.mark.parametrize("channels", [4, 16], ids=["XLA", "Winograd"])
@pytest.mark.parametrize("kind", ["plain", "grow", "shrink"])
def test_convolutions_equal_flaxs(kind, channels):
    """Those that grow: of the enlarged image; those that shrink: of stride 2."""
    x = jax.random.normal(jax.random.key(0), (2, 12, 14, channels))
    ours = Conv3x3(16, jnp.float32, **({} if kind == "plain" else {kind: True}))
    theirs = nn.Conv(16, (3, 3), strides=2 if kind == "shrink" else 1)
    seen = jax.image.resize(x, (2, 24, 28, channels), "nearest") if kind == "grow" else x
    variables = randomised(theirs.init(jax.random.key(1), seen))  # the same parameters fit both
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, variables
    )
    # float32 sums of up to 144 products of order one; Winograd's lose a digit
    np.testing.assert_allclose(
        ours.apply(variables, x), theirs.apply(variables, seen), rtol=1e-4, atol=3e-5
    )


def test_space_to_depth_and_back():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    assert space_to_depth(x, 2).shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(depth_to_space(space_to_depth(x, 2), 2), x)
    np.testing.assert_array_equal(space_to_depth(x, 2)[0, 0, 0, :3], x[0, 0, 0])


@pytest.fixture(scope="module")
def small():
    network = UNet(channels=8, multipliers=(1, 2), blocks=1, attention=(1,), patch=2, groups=2)
    x = jax.random.normal(jax.random.key(0), (3, 16, 12, 2))
    noise = jnp.array([0.1, 0.5, 0.9])
    # Without optimisation: it runs once, and optimising takes far longer.
    quick = jax.jit(network.init, compiler_options={"xla_backend_optimization_level": 0})
    params = quick(jax.random.key(1), x, noise)
    return network, params, x, noise


def test_unet_shape_and_zero_start(small):
    network, params, x, noise = small
    out = jax.jit(network.apply)(params, x, noise)
    assert out.shape == (3, 16, 12, 1) and out.dtype == jnp.float32
    assert network.multiple == 4
    np.testing.assert_array_equal(out, 0)  # a fresh network predicts nothing, not noise


def test_unet_uses_image_noise_level_and_mixes_no_samples(small):
    network, params, x, noise = small
    params = randomised(params)
    apply = jax.jit(network.apply)
    out = apply(params, x, noise)
    alone = apply(params, x[1:2], noise[1:2])
    np.testing.assert_allclose(out[1:2], alone, rtol=1e-5, atol=1e-6)  # other summation order
    assert jnp.abs(out - apply(params, x, noise + 0.3)).max() > 1e-3
    assert jnp.abs(out - apply(params, x[..., ::-1], noise)).max() > 1e-3


def test_unet_in_bfloat16_keeps_float32_parameters(small):
    network, params, x, noise = small
    half = network.clone(dtype=jnp.bfloat16)
    params = randomised(params)
    fresh = jax.eval_shape(half.init, jax.random.key(0), x)
    assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(fresh))
    full, low = (jax.jit(n.apply)(params, x, noise) for n in (network, half))
    assert low.dtype == jnp.float32
    # 8 bits of mantissa through about ten layers
    assert jnp.abs(full - low).max() < 0.1 * jnp.abs(full).max()


def test_discriminator_judges_patches():
    mr = jax.random.normal(jax.random.key(0), (2, 32, 48, 1))
    network = PatchDiscriminator(channels=8)
    params = jax.jit(network.init)(jax.random.key(1), mr, mr)
    apply = jax.jit(network.apply)
    out = apply(params, mr, -mr)
    assert out.shape == (2, 4, 6, 1)
    moved = apply(params, mr, (-mr).at[0, 0, 0].add(1.0))
    change = jnp.abs(moved - out)[0, :, :, 0]
    assert change[0, 0] > 0
    # Far patches see the change through the normalisation's sums alone.
    assert change[3, 5] < change[0, 0] / 2
