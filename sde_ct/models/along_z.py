"""The layer that relates the slices of a volume."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from sde_ct.models.layers import DType, GroupNorm
from sde_ct.models.parameters import Dense, Layer
from sde_ct.models.stream import CHUNK, KEPT, Delay, Position, only_inside

REACH = CHUNK  # slices on each side that a layer sees
# Inside a layer, the channels are divided by `NARROW`, to be cheap, but are at least `LEAST`.
NARROW, LEAST = 4, 8


class AlongZ(nn.Module):
    """A dense layer, norm, swish, a convolution along z, swish and a dense layer.

    It adds 0 at initialisation.
    """

    groups: int
    dtype: DType
    depth: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], at: Position | None = None
    ) -> Float[Array, "b h w c"]:
        """`x` holds the slices of volumes of the same depth, one volume after the other.

        In a stream `x` holds one chunk of each volume. The output is that of the chunk before.
        """
        narrow, zeros = max(LEAST, x.shape[-1] // NARROW), nn.initializers.zeros
        h = only_inside(Dense(narrow, dtype=self.dtype, name="in"), at, x)
        # Groups have at least two channels, because the norm removes the mean of each group.
        norm = GroupNorm(min(self.groups, narrow // 2), name="norm")
        h = nn.swish(only_inside(norm, at, h))
        h = nn.swish(ConvAlongZ(self.dtype, self.depth, name="conv")(h, at))
        if at is not None:
            x, at = Delay(1, name="delay")(x, at), at.later()
        out = Dense(x.shape[-1], dtype=self.dtype, kernel_init=zeros, name="out")
        return x + only_inside(out, at, h)


class ConvAlongZ(Layer):
    """A convolution along z of 2·`REACH` + 1 slices; beyond its ends a volume is zero."""

    dtype: DType
    depth: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], at: Position | None) -> Float[Array, "b h w c"]:
        channels, taps = x.shape[-1], 2 * REACH + 1
        initial = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
        kernel = self.param("kernel", initial, (taps, channels, channels)).astype(self.dtype)
        if self.is_initializing():  # only shapes matter then, see `parameters.py`
            return x
        if at is None:
            volumes = x.reshape(-1, self.depth, *x.shape[1:])
            matrix = _band(kernel, self.depth, self.depth, REACH)
        else:
            volumes = self._with_slices_before(x.reshape(-1, CHUNK, *x.shape[1:]), at)
            matrix = _band(kernel, volumes.shape[1], CHUNK, 0)
        return jnp.einsum("nzhwc,zycd->nyhwd", volumes, matrix).reshape(x.shape)

    def _with_slices_before(
        self, chunks: Float[Array, "n s h w c"], at: Position
    ) -> Float[Array, "n t h w c"]:
        """The chunk of each volume, after the two chunks before it."""
        n, _, *image = chunks.shape
        before = self.variable(KEPT, "before", jnp.zeros, (n, 2 * REACH, *image), self.dtype)
        chunks = jnp.where(at.inside[:, None, None, None], chunks, 0)
        joined = jnp.concatenate([before.value, chunks], axis=1)
        before.value = joined[:, CHUNK:]
        return joined


def _band(
    kernel: Float[Array, "taps c d"], slices: int, outputs: int, first: int
) -> Float[Array, "z y c d"]:
    """The convolution of some slices as a matrix, whose product is several times as fast.

    Args:
      slices, outputs: how many slices the matrix takes and makes.
      first: the tap by which the first slice enters the first output.
    """
    tap = jnp.arange(slices)[:, None] - jnp.arange(outputs) + first
    inside = (tap >= 0) & (tap < len(kernel))
    return jnp.where(inside[..., None, None], kernel[tap.clip(0, len(kernel) - 1)], 0)
