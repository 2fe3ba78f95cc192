"""Building blocks of the networks: group normalisation, convolutions, residual blocks."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sde_ct.models import winograd

DType = Any  # of NumPy or JAX


class GroupNorm(nn.Module):
    """Group normalisation (Wu & He 2018) as two sums and one multiply-add a channel.

    Summing over pixels first and folding mean, variance, scale and bias into one affine map keeps
    the elementwise work to a single fused loop: on CPU the demo's UNet runs 1.2 times as fast as
    with `flax.linen.GroupNorm`. Sums and map are float32 whatever the type of `x`: in bfloat16 a
    map with a large offset would cancel, by .04 for means 20 standard deviations from 0.
    """

    groups: int = 32  # at most; the largest divisor shared with the channels is used

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, c = x.shape
        groups = math.gcd(self.groups, c)
        scale = self.param("scale", nn.initializers.ones, (c,))
        bias = self.param("bias", nn.initializers.zeros, (c,))
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
    """Gaussian Fourier features of the noise level (Tancik et al. 2020), frozen, then an MLP.

    `scale` is the standard deviation of the frequencies: 30 in the paper's networks, about 1 where
    the level is a logarithm and the features should vary smoothly.
    """

    width: int
    scale: float

    @nn.compact
    def __call__(self, noise: Float[Array, " b"]) -> Float[Array, "b width"]:
        frequencies = self.scale * _normals(self.width // 2)
        angle = 2 * jnp.pi * noise[:, None].astype(jnp.float32) * frequencies
        features = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)
        features = nn.swish(nn.Dense(self.width, name="hidden")(features))
        return nn.swish(nn.Dense(self.width, name="out")(features))


@functools.cache
def _normals(count: int) -> np.ndarray:
    """Normal numbers, always the same: a constant of the architecture, not a parameter.

    Whatever generator JAX is set to, by default or by its user: a checkpoint must mean one network.
    """
    with jax.ensure_compile_time_eval(), jax.threefry_partitionable(True):
        key = jax.random.key(0, impl="threefry2x32")
        return np.asarray(jax.random.normal(key, (count,), jnp.float32))


class ResidualBlock(nn.Module):
    """Norm, swish, 3x3 convolution, twice; the noise features are added in between."""

    channels: int
    groups: int
    dtype: DType

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], features: Float[Array, "b f"] | None
    ) -> Float[Array, "b h w d"]:
        conv = functools.partial(Conv3x3, self.channels, self.dtype)
        h = conv(name="conv_in")(nn.swish(GroupNorm(self.groups, name="norm_in")(x)))
        if features is not None:
            shift = nn.Dense(self.channels, dtype=self.dtype, name="noise")(features)
            h = h + shift[:, None, None]
        h = nn.swish(GroupNorm(self.groups, name="norm_out")(h))
        h = conv(name="conv_out", kernel_init=nn.initializers.zeros)(h)
        if x.shape[-1] != self.channels:
            x = nn.Dense(self.channels, dtype=self.dtype, name="skip")(x)
        return x + h


class SelfAttention(nn.Module):
    """Self-attention over pixels, heads of 64 channels or a few more, zero at initialisation."""

    groups: int
    dtype: DType

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        b, h, w, c = x.shape
        heads = next(n for n in range(max(1, c // 64), 0, -1) if c % n == 0)
        flat = GroupNorm(self.groups, name="norm")(x).reshape(b, h * w, c)
        qkv = nn.Dense(3 * c, dtype=self.dtype, name="qkv")(flat)
        q, k, v = jnp.split(qkv.reshape(b, h * w, 3 * heads, c // heads), 3, axis=2)
        out = jax.nn.dot_product_attention(q, k, v).reshape(b, h, w, c)
        zeros = nn.initializers.zeros
        return x + nn.Dense(c, dtype=self.dtype, kernel_init=zeros, name="out")(out)


class Conv3x3(nn.Module):
    """A 3x3 convolution: plain, of the image enlarged by two (`grow`), of stride 2 (`shrink`)."""

    channels: int
    dtype: DType
    grow: bool = False
    shrink: bool = False
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j d"]:
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.channels))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        x, bias = x.astype(self.dtype), bias.astype(self.dtype)
        if winograd.applies(x, kernel, self.grow):
            h = winograd.convolve(x, kernel, self.grow)
            # A quarter of the pixels for a quarter of the products each; its gradients win.
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
    """Nearest-neighbour upsampling by two, then a 3x3 convolution, without the upsampled image.

    Each of the four phases of the result sees 2 x 2 pixels of `x` through sums of the kernel's
    taps: 16 products a pixel of `x` instead of 36.
    """
    b, h, w, _ = x.shape
    # An even row of the result sees rows i - 1 and i of x, an odd one rows i and i + 1.
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
