"""Functions of volumes that see neighbouring slices, evaluated on a part of a volume at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CORE = 8  # slices that a window contributes
LARGE = 32 * 512**2  # voxels of the largest volume that is evaluated at once

Volumes = Float[Array, "n z *d"]


def by_windows(function: Callable[..., Volumes], reach: int, *volumes: Volumes) -> Volumes:
    """`function` of volumes, with less memory than the whole of a large volume would need.

    The function sees windows of `CORE` + 2 · `reach` slices. Of each window `CORE` values are kept:
    the inner ones or, near an end of the volume, those nearer to that end. If these values depend
    on no slices outside of the window, the result is that of the whole volume, except for rounding.

    Args:
      function: makes a value of each slice of volumes of any depth.
      reach: how many slices away a slice still changes a value noticeably.
      volumes: the arguments of `function`.
    """
    depth, height, width = volumes[0].shape[1:4]
    size = CORE + 2 * reach
    if depth * height * width <= LARGE or depth <= size:
        return function(*volumes)
    first = jnp.minimum(jnp.arange(-(-depth // CORE)) * CORE, depth - CORE)

    def window(begin: Array) -> Volumes:
        """The values of the slices from `begin` on. No window reaches beyond the volume."""
        start = jnp.clip(begin - reach, 0, depth - size)
        parts = [jax.lax.dynamic_slice_in_dim(x, start, size, axis=1) for x in volumes]
        return jax.lax.dynamic_slice_in_dim(function(*parts), begin - start, CORE, axis=1)

    made = jnp.moveaxis(jax.lax.map(window, first), 0, 1)
    whole = made[:, :-1].reshape(len(made), -1, *made.shape[3:])
    return jnp.concatenate([whole, made[:, -1, whole.shape[1] - depth :]], axis=1)
