"""The UNet that all methods share: denoiser, regression network and generator."""

import zlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sde_ct.models.along_z import AlongZ
from sde_ct.models.layers import (
    CONVOLVED,
    Conv3x3,
    DType,
    GroupNorm,
    NoiseFeatures,
    ResidualBlock,
    SelfAttention,
    depth_to_space,
    space_to_depth,
)
from sde_ct.models.stream import Delay, Position, only_inside

ALONG_Z = "_along_z"  # the end of the names of the layers that relate slices


class Given(NamedTuple):
    """What a layer sees beside the images."""

    features: Float[Array, "b f"] | None
    keys: Key[Array, " b"] | None
    at: Position | None

    def behind(self) -> "Given":
        """What the layers behind a layer between slices see."""
        return self if self.at is None else self._replace(at=self.at.later())


class Skip(NamedTuple):
    """The images of a skip connection; `origin`, if given, is their layer and what it saw."""

    images: Array
    given: Given
    origin: tuple[nn.Module, Array] | None = None

    def delayed(self, given: Given, name: str) -> Array:
        """The images for a layer that sees `given`. A stream delays them to match its slices.

        With an `origin`, a stream delays what the layer saw, which has fewer channels, and
        evaluates the layer again.
        """
        before, now = self.given.at, given.at
        if before is None or now is None:
            return self.images
        delay = Delay(now.delay - before.delay, name=name)
        if self.origin is None:
            return delay(self.images, before)
        layer, seen = self.origin
        return only_inside(layer, now, delay(seen, before))


class UNet(nn.Module):
    """UNet of residual blocks (Ronneberger et al. 2015; Ho et al. 2020) for images in NHWC.

    Parameters and output are float32, and `dtype` is the type of the computation. The output is
    zero at initialisation. Height and width must be multiples of `multiple`. With a `depth`, layers
    of `along_z.py` relate the slices of each volume.
    """

    channels: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 4)  # factors of `channels` by level, finest first
    blocks: int = 2  # residual blocks per level on the way down; one more on the way up
    attention: tuple[int, ...] = ()  # levels with self-attention; 0 is the finest
    patch: int = 1  # each patch x patch square of pixels becomes the channels of one
    groups: int = 32
    noise_scale: float = 1.0  # standard deviation of the noise features' frequencies
    dropout: float = 0.0  # share of the feature maps that each residual block leaves out
    dtype: DType = jnp.float32
    remat: bool = False  # recompute the convolutions of residual blocks in the backward pass too
    depth: int | None = None  # slices of a volume, which are related; None relates no images
    gradients: bool = True  # False: no backward pass follows, and tracing takes less time

    @property
    def multiple(self) -> int:
        """The number of which height and width must be multiples."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def layers_along_z(self) -> int:
        """How many layers relate slices, if any do."""
        return len(self.multipliers) * (2 * self.blocks + 1) + 2

    @property
    def forward(self) -> "UNet":
        """The same network for evaluations that no backward pass follows."""
        return self.clone(gradients=False)

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b h w c"],
        noise: Float[Array, " b"] | None = None,
        keys: Key[Array, " b"] | None = None,
        at: Position | None = None,
    ) -> Float[Array, "b h w 1"]:
        """The output for a batch of images.

        Args:
          x: the images. If the network relates slices, the slices of volumes of the same depth, one
            volume after the other.
          noise: the label of the noise level; None for a CNN or GAN.
          keys: one for each image, to choose the maps that dropout leaves out; None: no dropout.
          at: given if `x` is one chunk of each volume in a stream, see `stream.streamed`.
        """
        features, keys = None, keys if self.dropout else None
        if noise is not None:
            features = NoiseFeatures(4 * self.channels, self.noise_scale, name="noise")(noise)
            features = features.astype(self.dtype)
        x = space_to_depth(x.astype(self.dtype), self.patch)
        stem = Conv3x3(self.channels, self.dtype, name="stem")
        first = Skip(only_inside(stem, at, x), Given(features, keys, at), (stem, x))
        h, given, skips = self._down(first)
        h, given = self._level(h, given, len(self.multipliers) - 1, "middle_in")
        h, given = self._level(h, given, len(self.multipliers) - 1, "middle_out")
        h, given = self._up(h, given, skips)
        h = nn.swish(only_inside(GroupNorm(self.groups, name="head_norm"), given.at, h))
        zeros = nn.initializers.zeros
        head = Conv3x3(self.patch**2, self.dtype, kernel_init=zeros, name="head")
        out = only_inside(head, given.at, h)
        return depth_to_space(out, self.patch).astype(jnp.float32)

    def _level(self, h: Array, given: Given, level: int, name: str) -> tuple[Array, Given]:
        features, keys, at = given
        width = self.channels * self.multipliers[level]
        block = self._recomputed(ResidualBlock) if self.gradients else ResidualBlock
        if keys is not None:
            keys = jax.vmap(jax.random.fold_in, (0, None))(keys, zlib.crc32(name.encode()))
        layer = block(width, self.groups, self.dtype, self.dropout, name=name)
        h = only_inside(layer, at, h, features, keys)
        if level in self.attention:
            layer = SelfAttention(self.groups, self.dtype, name=f"{name}_attention")
            h = only_inside(layer, at, h)
        if self.depth:
            h = AlongZ(self.groups, self.dtype, self.depth, name=name + ALONG_Z)(h, at)
            given = given.behind()
        return h, given

    def _recomputed(self, block: type[nn.Module]) -> type[nn.Module]:
        """`block`, whose norms and activations are recomputed in the backward pass.

        They take little time but much memory. With `remat`, the convolutions are recomputed too.
        """
        kept = [] if self.remat else [CONVOLVED]
        return nn.remat(block, policy=jax.checkpoint_policies.save_only_these_names(*kept))

    def _down(self, first: Skip) -> tuple[Array, Given, list[Skip]]:
        h, given, skips = first.images, first.given, [first]
        for level, multiplier in enumerate(self.multipliers):
            for block in range(self.blocks):
                h, given = self._level(h, given, level, f"down_{level}_{block}")
                skips.append(Skip(h, given))
            if level + 1 < len(self.multipliers):
                width = self.channels * multiplier
                shrink = Conv3x3(width, self.dtype, shrink=True, name=f"shrink_{level}")
                h = only_inside(shrink, given.at, h)
                skips.append(Skip(h, given))
        return h, given, skips

    def _up(self, h: Array, given: Given, skips: list[Skip]) -> tuple[Array, Given]:
        for level in reversed(range(len(self.multipliers))):
            for block in range(self.blocks + 1):
                name = f"up_{level}_{block}"
                h = jnp.concatenate([h, skips.pop().delayed(given, f"{name}_delay")], axis=-1)
                h, given = self._level(h, given, level, name)
            if level > 0:
                grow = Conv3x3(h.shape[-1], self.dtype, grow=True, name=f"grow_{level}")
                h = only_inside(grow, given.at, h)
        return h, given
