"""Functions of slices, applied to volumes: a network sees one slice at a time."""

import functools
from collections.abc import Callable

import jax
from jaxtyping import Array, Float, Shaped

from sde_ct.models import UNet

SLICES = 8  # most slices of a volume in one call; synthesis pads deeper volumes to a multiple
PIXELS = SLICES * 256**2  # most pixels of a volume in one call; a single slice may have more


@functools.cache
def evaluator(network: UNet) -> Callable:
    """`network.apply` without a backward pass, traced once for all calls with the same shapes.

    A sampler calls its network in the loop and at the end, and a residual network's regression is
    evaluated before. Each further trace would delay the start of a synthesis.
    """
    return jax.jit(network.forward.apply)


def by_slices(
    function: Callable[..., Float[Array, "b h w c"]], *volumes: Shaped[Array, "n z *d"]
) -> Float[Array, "n z h w c"]:
    """`function` of the slices of n volumes; its memory does not grow with z beyond `SLICES`."""
    depth, each = volumes[0].shape[1], _at_once(*volumes[0].shape[1:4])
    if depth > each:
        parts = [_chunked(x, each) for x in volumes]
        made = jax.lax.map(lambda part: by_slices(function, *part), parts)
        return made.swapaxes(0, 1).reshape(*volumes[0].shape[:2], *made.shape[3:])
    made = function(*(x.reshape(-1, *x.shape[2:]) for x in volumes))
    return made.reshape(*volumes[0].shape[:2], *made.shape[1:])


def _at_once(depth: int, height: int, width: int) -> int:
    """The largest divisor of the depth that keeps to `SLICES` and `PIXELS`; 1 if none does."""
    most = max(1, min(SLICES, PIXELS // (height * width)))
    return max(each for each in range(1, most + 1) if depth % each == 0)


def _chunked(x: Shaped[Array, "n z *d"], each: int) -> Shaped[Array, "m n s *d"]:
    return x.reshape(len(x), -1, each, *x.shape[2:]).swapaxes(0, 1)
