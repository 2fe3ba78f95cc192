"""The layers of the networks, except those between slices (`along_z.py`)."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Key

from sde_ct.models import winograd
from sde_ct.models.parameters import Dense, Layer

DType = Any  # a type of NumPy or JAX
CONVOLVED = "convolved"  # the name of the activation that a residual block keeps for gradients


class GroupNorm(Layer):
    """Group normalisation (Wu & He 2018) as two sums and one affine map per channel.

    Mean, variance, scale and bias are folded into one affine map, so that XLA fuses the work on the
    pixels into a single loop: on a CPU the demo's UNet runs 1.2 times as fast as with
    `flax.linen.GroupNorm`. Sums and map are float32 for any type of `x`. In bfloat16 the map's two
    terms would cancel, with an error of 0.04 for means 20 standard deviations from 0.
    """

    groups: int = 32  # the greatest common divisor of this and the number of channels is used

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, c = x.shape
        groups = math.gcd(self.groups, c)
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
        if self.is_initializing():  # only shapes matter then, see `parameters.py`
            return x
        wide = x.reshape(b, h * w, c).astype(jnp.float32)
        first = jnp.sum(wide, axis=1).reshape(b, groups, -1).sum(-1)
        second = jnp.sum(wide * wide, axis=1).reshape(b, groups, -1).sum(-1)
        n = h * w * c // groups
        mean = first / n
        inverse = jax.lax.rsqrt(jnp.maximum(second / n - mean**2, 0.0) + 1e-5)
        factor = jnp.repeat(inverse, c // groups, axis=-1) * scale
        offset = bias - jnp.repeat(mean, c // groups, axis=-1) * factor
        return (x * factor[:, None, None] + offset[:, None, None]).astype(x.dtype)


class NoiseFeatures(nn.Module):
    """Fixed Gaussian Fourier features of the noise level (Tancik et al. 2020), then an MLP.

    `scale` is the standard deviation of the frequencies: 30 in the paper's networks, and about 1
    for logarithmic noise levels, so that the features vary smoothly.
    """

    width: int
    scale: float

    @nn.compact
    def __call__(self, noise: Float[Array, " b"]) -> Float[Array, "b width"]:
        frequencies = self.scale * _normals(self.width // 2)
        angle = 2 * jnp.pi * noise[:, None].astype(jnp.float32) * frequencies
        features = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        features = nn.swish(Dense(self.width, name="hidden")(features))
        return nn.swish(Dense(self.width, name="out")(features))


@functools.cache
def _normals(count: int) -> np.ndarray:
    """The same normal numbers in every call and under every generator that JAX is set to.

    They are constants of the architecture, which no checkpoint holds.
    """

    @jax.jit
    def normals() -> Array:
        key = jax.random.key(0, impl="threefry2x32")
        return jax.random.normal(key, (count,), jnp.float32)

    with jax.ensure_compile_time_eval(), jax.threefry_partitionable(True):
        return np.asarray(normals())


class ResidualBlock(nn.Module):
    """Norm, swish and 3 x 3 convolution, twice. The noise features are added in between.

    With keys, each input map of the second convolution is set to zero with probability `dropout` in
    each image, and the others are scaled up to keep the expectation (Tompson et al. 2015).
    """

    channels: int
    groups: int
    dtype: DType
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        features: Float[Array, "b f"] | None,
        keys: Key[Array, " b"] | None = None,
    ) -> Float[Array, "b h w d"]:
        conv = functools.partial(Conv3x3, self.channels, self.dtype)
        h = conv(name="conv_in")(nn.swish(GroupNorm(self.groups, name="norm_in")(x)))
        h = checkpoint_name(h, CONVOLVED)
        if features is not None:
            shift = Dense(self.channels, dtype=self.dtype, name="noise")(features)
            h = h + shift[:, None, None]
        h = nn.swish(GroupNorm(self.groups, name="norm_out")(h))
        if keys is not None:
            kept = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.dropout, h.shape[3:]))
            h = h * (kept(keys)[:, None, None] / (1 - self.dropout)).astype(h.dtype)
        h = conv(name="conv_out", kernel_init=nn.initializers.zeros)(h)
        if x.shape[-1] != self.channels:
            x = Dense(self.channels, dtype=self.dtype, name="skip")(x)
        return x + h


class SelfAttention(nn.Module):
    """Self-attention over pixels; it adds 0 at initialisation.

    Heads have 64 or more channels. Fewer than 64 channels are one head.
    """

    groups: int
    dtype: DType

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, c = x.shape
        heads = next(n for n in range(max(1, c // 64), 0, -1) if c % n == 0)
        flat = GroupNorm(self.groups, name="norm")(x).reshape(b, h * w, c)
        qkv = Dense(3 * c, dtype=self.dtype, name="qkv")(flat)
        q, k, v = jnp.split(qkv.reshape(b, h * w, 3 * heads, c // heads), 3, axis=2)
        out = jax.nn.dot_product_attention(q, k, v).reshape(b, h, w, c)
        zeros = nn.initializers.zeros
        return x + Dense(c, dtype=self.dtype, kernel_init=zeros, name="out")(out)


class Conv3x3(Layer):
    """A 3 x 3 convolution, after upsampling by two (`grow`) or with stride 2 (`shrink`)."""

    channels: int
    dtype: DType
    grow: bool = False
    shrink: bool = False
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        if self.is_initializing():  # only shapes matter then, see `parameters.py`
            factor = 2.0 if self.grow else 0.5 if self.shrink else 1.0
            size = (int(factor * side) for side in x.shape[1:3])
            return jnp.zeros((len(x), *size, self.channels), self.dtype)
        x, bias = x.astype(self.dtype), bias.astype(self.dtype)
        # Winograd's kernels compute in float32, which on a CPU is faster than XLA's bfloat16.
        if winograd.applies(x.astype(jnp.float32), kernel, self.grow):
            h = winograd.convolve(x.astype(jnp.float32), kernel, self.grow).astype(x.dtype)
            # With stride 2 this computes four times as many pixels as needed, each with a quarter
            # of the products. The gradients are still faster than XLA's.
            return (h[:, 1::2, 1::2] if self.shrink else h) + bias
        if self.grow:
            return _grown(x, kernel) + bias
        if self.shrink:
            return _convolved(x, kernel, stride=2, padding=((0, 1), (0, 1))) + bias
        return _convolved(x, kernel) + bias


def _convolved(x: Array, kernel: Array, stride: int = 1, padding: Any = "SAME") -> Array:
    layout, kernel = ("NHWC", "HWIO", "NHWC"), kernel.astype(x.dtype)
    strides = (stride, stride)
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=layout)


def _grown(x: Array, kernel: Array) -> Array:
    """Nearest-neighbour upsampling by two and a 3 x 3 convolution, without the upsampled image.

    A pixel of the result depends on 2 x 2 pixels of `x`, through sums of the kernel's taps that
    differ between even and odd rows and columns. This takes 16 products per pixel of `x`, not 36.
    """
    b, h, w, _ = x.shape
    # Row 2i of the result depends on rows i - 1 and i of x, row 2i + 1 on rows i and i + 1.
    taps = jnp.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], kernel.dtype)
    phases = jnp.einsum("apr,bqs,rscd->abpqcd", taps, taps, kernel)

    def phase(i: int, j: int) -> Array:
        return _convolved(x, phases[i, j], padding=((1 - i, i), (1 - j, j)))

    rows = [jnp.stack([phase(i, 0), phase(i, 1)], axis=3) for i in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(b, 2 * h, 2 * w, kernel.shape[-1])


def space_to_depth(x: Float[Array, "b h w c"], patch: int) -> Float[Array, "b i j d"]:
    """Move each `patch` x `patch` square of pixels into the channels."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h // patch, w // patch, patch * patch * c)


def depth_to_space(x: Float[Array, "b i j d"], patch: int) -> Float[Array, "b h w c"]:
    """The inverse of `space_to_depth`."""
    b, i, j, d = x.shape
    x = x.reshape(b, i, j, patch, patch, d // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, i * patch, j * patch, d // patch**2)
