"""Draws and means from both orientations of an MR, for networks trained on mirrored images.

Left and right are alike to such a network, but its errors differ between an image and its mirror
image. The mean over both therefore has a smaller error.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from sde_ct.config import DataConfig
from sde_ct.methods.slices import by_slices
from sde_ct.sampling.chain import all_finite
from sde_ct.types import Samples

Draw = Callable[..., Samples]  # `draw` of a Method


def mirrored(image: Float[Array, "*d h w k"]) -> Float[Array, "*d h w k"]:
    """Left and right exchanged."""
    return image[..., ::-1, :]


def either_orientation(draw: Draw) -> Draw:
    """`draw`, which sees the mirror image of the MR with probability 1/2, decided by its key.

    The CT is mirrored back. The mean of several draws thus averages over both orientations. If
    `means` are given, as `of_orientations` returns them, `draw` gets the mean of its orientation.
    """

    def turned_draw(
        params, keys, mr: Float[Array, "n z h w k"], along_z=None, *means: Float[Array, "n z h w 2"]
    ) -> Samples:
        turned = orientations(keys).reshape(-1, 1, 1, 1, 1)
        own = [jnp.where(turned, both[..., 1:], both[..., :1]) for both in means]
        samples = draw(params, keys, jnp.where(turned, mirrored(mr), mr), along_z, *own)
        return samples._replace(x=jnp.where(turned, mirrored(samples.x), samples.x))

    return turned_draw


def by_turned_slices(
    turned: Bool[Array, " n"],
    function: Callable[..., Array],
    mr: Array,
    noise: Array,
    curves: Array,
    *means: Array,
) -> Float[Array, "n z h w 1"]:
    """`by_slices` of `function`, (mr, noise, curves, *means) -> CT, which sees some MRs mirrored.

    The result is that of `either_orientation`. But slices are mirrored a few at a time, so that no
    mirror image of a whole volume is held in memory.

    Args:
      turned: for each volume, whether `function` sees its mirror image.
      means: of both orientations, as `of_orientations` returns them.
    """

    def of_slices(mr: Float[Array, "b h w k"], turned: Bool[Array, " b"], noise, curves, *means):
        turned = turned[:, None, None, None]
        own = [jnp.where(turned, both[..., 1:], both[..., :1]) for both in means]
        x = function(jnp.where(turned, mirrored(mr), mr), noise, curves, *own)
        return jnp.where(turned, mirrored(x), x)

    each = jnp.broadcast_to(turned[:, None], mr.shape[:2])
    return by_slices(of_slices, mr, each, noise, curves, *means)


def orientations(keys: Key[Array, " n"]) -> Bool[Array, " n"]:
    """For each draw, whether it sees the mirror image of its MR."""
    return jax.vmap(jax.random.bernoulli)(keys)


def of_orientations(
    predict: Callable[[Any, Array], Array], data: DataConfig
) -> Callable[[Any, Array], Float[Array, "n z h w m"]]:
    """`means` of a Method: what a regression `predict` gives for the MR.

    If images were mirrored in training, a second channel is what `predict` gives for the mirror
    image of the MR. This channel is not mirrored back.
    """

    def means(params, mr: Float[Array, "n z h w k"]) -> Float[Array, "n z h w m"]:
        seen = [mr, mirrored(mr)] if data.flip else [mr]
        return jnp.concatenate([predict(params, one) for one in seen], axis=-1)

    return means


def draw_mean(predict: Callable[[Any, Array], Array], data: DataConfig) -> Draw:
    """The CT of a regression `predict`, (params, volumes) -> (CT - ct_mean) / ct_std.

    If images were mirrored in training, it is the mean of both orientations, by two evaluations.
    """

    def draw(params, keys, mr: Float[Array, "n z h w k"], along_z=None) -> Samples:
        mean = predict(params, mr)
        if data.flip:
            mean = (mean + mirrored(predict(params, mirrored(mr)))) / 2
        ct = data.ct_mean + data.ct_std * mean
        return Samples(ct, jnp.full(len(ct), 1 + data.flip), all_finite(ct))

    return draw
