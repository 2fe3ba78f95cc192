"""The kernels against XLA's convolution, forward and both gradients."""

import functools
import platform

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sde_ct.models import winograd
from sde_ct.models.layers import Conv3x3
from sde_ct.models.winograd import compilation

compiled = pytest.mark.skipif(not winograd.ready(), reason="no C++ compiler on this machine")


def arrays(seed: int, *shapes):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def plain(x, kernel, grow=False):
    if grow:
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)


def both(function, x, kernel, dy):
    """The result, and the gradients of input and kernel."""
    y, pull = jax.vjp(function, x, kernel)
    return y, *pull(dy)


def assert_close(ours, theirs):
    """Winograd's sums of large terms that cancel lose about a digit of float32's seven."""
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=3e-5 * float(jnp.abs(b).max()))


@compiled
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 5),
    height=st.integers(1, 37),
    width=st.integers(1, 37),
    channels=st.sampled_from([(16, 16), (16, 48), (48, 32), (32, 80)]),
    grow=st.booleans(),
)
def test_results_and_gradients_are_those_of_xla(batch, height, width, channels, grow):
    """Tiles that reach over the edge, single pixels, blocks of channels without a pair."""
    scale, (c, d) = 2 if grow else 1, channels
    shapes = (batch, height, width, c), (3, 3, c, d), (batch, scale * height, scale * width, d)
    x, kernel, dy = arrays(0, *shapes)
    ours, theirs = (functools.partial(f, grow=grow) for f in (winograd.convolve, plain))
    assert_close(both(ours, x, kernel, dy), both(theirs, x, kernel, dy))


@compiled
def test_more_tiles_than_are_held_at_once():
    """The kernel's gradient is then summed up in several rounds."""
    x, kernel, dy = arrays(1, (3, 150, 90, 64), (3, 3, 64, 64), (3, 150, 90, 64))
    assert_close(both(winograd.convolve, x, kernel, dy), both(plain, x, kernel, dy))


@compiled
def test_a_slice_has_the_same_result_in_every_batch():
    x, kernel = arrays(2, (7, 21, 18, 32), (3, 3, 32, 48))
    whole = winograd.convolve(x, kernel)
    for batch in (x[:1], x[2:5], x[::-1]):
        expected = {1: whole[:1], 3: whole[2:5], 7: whole[::-1]}[len(batch)]
        np.testing.assert_array_equal(winograd.convolve(batch, kernel), expected)


@compiled
def test_many_devices_at_once_and_inside_of_loops():
    """More callers than threads: each takes part in its own work, so that none waits forever."""
    x, kernel = arrays(3, (4, 2, 24, 24, 32), (3, 3, 32, 32))
    kernel = 0.05 * kernel

    def ten(x, convolve):
        return jax.lax.fori_loop(0, 10, lambda _, h: jnp.tanh(convolve(h, kernel)), x)

    mapped = jax.pmap(functools.partial(ten, convolve=winograd.convolve))
    expected = ten(x.reshape(8, 24, 24, 32), plain).reshape(x.shape)
    for _ in range(5):
        np.testing.assert_allclose(mapped(x), expected, atol=1e-4)  # ten rounds of 1e-5
    one = jax.vmap(winograd.convolve, (0, None))(x, kernel)
    np.testing.assert_array_equal(one[1], winograd.convolve(x[1], kernel))


@compiled
def test_where_it_applies(monkeypatch):
    x, kernel = arrays(4, (1, 12, 12, 16), (3, 3, 16, 32))
    assert winograd.applies(x, kernel)
    assert not winograd.applies(x[:, :11], kernel)  # small
    assert winograd.applies(x[:, :6, :6], kernel, grow=True)  # as large once it has grown
    assert not winograd.applies(x[..., :15], kernel[:, :, :15])
    assert not winograd.applies(x, kernel[..., :1])
    assert not winograd.applies(x.astype(jnp.bfloat16), kernel)
    assert not winograd.applies(x, kernel[:1, :1])
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not winograd.applies(x, kernel)


@compiled
def test_direct_is_noticed_by_what_was_traced_before():
    x, kernel = arrays(5, (1, 12, 12, 16), (3, 3, 16, 16))

    @jax.jit
    def chosen(x, kernel):
        return (winograd.convolve if winograd.applies(x, kernel) else plain)(x, kernel)

    for _ in range(2):
        assert "sde_ct_convolve" in chosen.lower(x, kernel).as_text()
        with winograd.direct():
            assert "sde_ct_convolve" not in chosen.lower(x, kernel).as_text()


@pytest.mark.slow
@compiled
@pytest.mark.parametrize("machine", ["x86-64", "x86-64-v3"])
def test_narrower_processors_compute_the_same(machine, tmp_path, monkeypatch):
    """Those without 512-bit vectors, and those without 256-bit ones."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("not an x86 processor")
    compilation.register(
        compilation.build(tmp_path, compilation._compiler(), machine), prefix=machine
    )
    call = jax.ffi.ffi_call
    monkeypatch.setattr(jax.ffi, "ffi_call", lambda name, *a, **k: call(machine + name, *a, **k))
    x, kernel, dy = arrays(6, (2, 13, 22, 48), (3, 3, 48, 32), (2, 13, 22, 32))
    text = jax.jit(lambda *a: winograd.convolve(*a)).lower(x, kernel).as_text()  # traced afresh
    assert f"{machine}sde_ct_convolve" in text
    assert_close(both(winograd.convolve, x, kernel, dy), both(plain, x, kernel, dy))


@compiled
@pytest.mark.parametrize("options", [{}, {"grow": True}, {"shrink": True}])
def test_a_layer_in_bfloat16_takes_the_kernels_too(options):
    """Their sums are float32; only input, bias and result are rounded, by 2^-9 of their size."""
    x, kernel = arrays(0, (2, 16, 16, 16), (3, 3, 16, 32))
    params = {"params": {"kernel": kernel, "bias": jnp.ones(32)}}
    half, whole = (Conv3x3(32, dtype, **options) for dtype in (jnp.bfloat16, jnp.float32))
    assert "sde_ct_convolve" in jax.jit(half.apply).lower(params, x).as_text()
    exact = whole.apply(params, x.astype(jnp.bfloat16).astype(jnp.float32))
    rounded = half.apply(params, x)
    assert rounded.dtype == jnp.bfloat16
    # The result is rounded once before and once after the bias is added.
    np.testing.assert_allclose(
        rounded.astype(jnp.float32), exact, rtol=2**-8, atol=2**-8 * float(jnp.abs(exact).max())
    )
