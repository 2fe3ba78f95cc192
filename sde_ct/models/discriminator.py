"""The GAN's patch discriminator."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.models.layers import DType, GroupNorm
from sde_ct.models.parameters import Conv


class PatchDiscriminator(nn.Module):
    """Scores overlapping patches of a CT as real or synthetic, given the MR (pix2pix, Isola 2017).

    It has three 4 x 4 convolutions of stride 2 and a last one of stride 1. Each output sees a patch
    46 pixels wide and is one float32 number.
    """

    channels: int = 64
    groups: int = 32
    dtype: DType = jnp.float32

    @nn.compact
    def __call__(
        self, mr: Float[Array, "b h w k"], ct: Float[Array, "b h w 1"]
    ) -> Float[Array, "b i j 1"]:
        conv = functools.partial(Conv, kernel_size=(4, 4), dtype=self.dtype)
        h = jnp.concatenate([mr, ct], axis=-1).astype(self.dtype)
        h = nn.leaky_relu(conv(self.channels, strides=2)(h), 0.2)
        for factor in (2, 4):
            h = conv(factor * self.channels, strides=2)(h)
            h = nn.leaky_relu(GroupNorm(self.groups)(h), 0.2)
        return conv(1)(h).astype(jnp.float32)
