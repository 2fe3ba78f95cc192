"""Large volumes that pass through a network a few slices at a time.

A layer between slices (`along_z.py`) needs `CHUNK` slices on each side of a slice. So in a stream
its output for a chunk of slices is ready one step later, and layers keep the chunks that they still
need. The result is that of the whole volume, except for rounding. No chunk is evaluated twice, and
the memory that a network needs does not grow with the depth of the volume.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

CHUNK = 4  # slices of each volume in a step; also how far a layer between slices sees
KEPT = "stream"  # the collection of what layers keep from step to step

Slices = Float[Array, "b h w c"]


class Position(NamedTuple):
    """Which chunk of its volumes a layer sees in a step."""

    step: Int[Array, ""]
    depth: int  # slices of a volume
    delay: int = 0  # steps between the network's input and the layer's, for one chunk

    def later(self) -> "Position":
        """The position after one more layer between slices."""
        return self._replace(delay=self.delay + 1)

    @property
    def chunk(self) -> Int[Array, ""]:
        """The number of the chunk. It is negative or too large outside of the volumes."""
        return self.step - self.delay

    @property
    def inside(self) -> Bool[Array, " s"]:
        """Which slices of the chunk belong to the volumes."""
        slices = self.chunk * CHUNK + jnp.arange(CHUNK)
        return (slices >= 0) & (slices < self.depth)


class Delay(nn.Module):
    """Returns the slices that it got `steps` steps before."""

    steps: int

    @nn.compact
    def __call__(self, x: Slices, at: Position) -> Slices:
        """The slices of the earlier step; zeros in the first `steps` steps."""
        if self.steps == 1:  # one place is enough
            last = self.variable(KEPT, "last", jnp.zeros_like, x)
            before, last.value = last.value, x
            return before
        # Written before it is read, so that the compiler does not copy it.
        places = self.steps + 1
        kept = self.variable(KEPT, "kept", jnp.zeros, (places, *x.shape), x.dtype)
        kept.value = kept.value.at[at.step % places].set(x)
        return kept.value[(at.step + 1) % places]


def only_inside(layer: nn.Module, at: Position | None, x: Slices, *options: Any) -> Slices:
    """`layer` of the slices. Beyond the ends of the volumes of a stream it is not evaluated."""
    if at is None:
        return layer(x, *options)
    given = (layer.variables, x, *options)
    apply = layer.clone(parent=None, name=None).apply
    made = jax.eval_shape(apply, *given)
    return jax.lax.cond(
        at.inside.any(), apply, lambda *_: jnp.zeros(made.shape, made.dtype), *given
    )


def streamed(
    network: nn.Module,
    delay: int,
    variables: Mapping[str, Any],
    inputs: Callable[..., tuple[Array, ...]],
    *volumes: Float[Array, "n z h w _"],
) -> Float[Array, "n z h w 1"]:
    """The network's output for whole volumes.

    Args:
      network: a network whose last two arguments are keys for dropout and a `Position`.
      delay: how many of its layers relate slices, one after the other.
      inputs: the first arguments of the network, from the slices of each of `volumes`.
    """
    count, depth = volumes[0].shape[:2]
    chunks = -(-depth // CHUNK)

    def evaluate(kept: Mapping[str, Any], step: Int[Array, ""]) -> tuple[Array, Any]:
        rows = jnp.clip(step * CHUNK + jnp.arange(CHUNK), max=depth - 1)
        slices = [v[:, rows].reshape(-1, *v.shape[2:]) for v in volumes]
        apply = partial(network.apply, keys=None, at=Position(step, depth), mutable=[KEPT])
        return apply({**variables, **kept}, *inputs(*slices))

    def advance(carry: tuple[Any, Array], step: Int[Array, ""]) -> tuple[Any, None]:
        out, kept = evaluate(carry[0], step)
        parts = out.reshape(count, CHUNK, *out.shape[1:])
        # What the first steps write is overwritten in step `delay`.
        return (kept, carry[1].at[:, jnp.maximum(step - delay, 0)].set(parts)), None

    out, kept = jax.eval_shape(evaluate, {}, jnp.zeros((), jnp.int32))
    whole = jax.ShapeDtypeStruct((count, chunks, CHUNK, *out.shape[1:]), out.dtype)
    # A zero that the compiler does not know to be constant. Arrays of constants would take their
    # memory from the start of a program that evaluates the network later.
    zero = (volumes[0].ravel()[0] > jnp.inf).astype(jnp.float32)
    begin = jax.tree.map(lambda x: jnp.full(x.shape, zero, x.dtype), (kept, whole))
    (_, made), _ = jax.lax.scan(advance, begin, jnp.arange(chunks + delay))
    return made.reshape(count, -1, *out.shape[1:])[:, :depth]
