"""The words that all other parts share."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Bool, Float, Int


class Batch(NamedTuple):
    """Paired axial slices in model units, [-1, 1] ([0, 1] in the paper's per-slice scaling).

    `k` = 1 + 2·neighbour MR slices.
    """

    mr: Float[Array, "b h w k"]
    ct: Float[Array, "b h w 1"]
    valid: Float[Array, "b h w 1"]  # 1 where the CT was measured and may teach, else 0


class ScoreFn(Protocol):
    """The score ∇ log p_t(x), its conditioning already inside."""

    def __call__(self, x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]: ...


class Samples(NamedTuple):
    """What a sampler returns; one entry per sample, no sample touched by another."""

    x: Float[Array, "b *d"]
    nfe: Int[Array, " b"]  # network (score) evaluations spent on each sample
    ok: Bool[Array, " b"]  # finite, and the solver reached its end


class Ensemble(NamedTuple):
    """Monte-Carlo draws of the same samples and what they say together."""

    mean: Float[Array, "b *d"]
    std: Float[Array, "b *d"]  # sample standard deviation (M - 1); NaN for a single draw
    draws: Float[Array, "m b *d"]
    nfe: Int[Array, "m b"]
    ok: Bool[Array, "m b"]


class Method(NamedTuple):
    """A way to learn CT from MR, as pure functions; every method trains in the same loop.

    init(key, batch, params=None) -> state: parameters, optimiser and moving averages as one tree;
      `params`, as `weights` returns them, replace the random ones.
    update(state, keys, batch) -> (state, metrics): one step; `keys` holds one key an example,
      so the step does not depend on how the batch is spread over devices. Metrics hold "loss",
      "gradient_norm", "learning_rate" and "skipped": 1 where something was not finite and the
      state stayed as it was, else 0.
    loss(state, keys, batch) -> {name: value}: the validation figures; the state stays as it is.
    weights(state) -> the parameters used for synthesis: the moving average where there is one.
    draw(params, keys, mr) -> Samples: one synthetic CT, in model units, for each key and MR slice
      [b, h, w, k]; `params` come from `weights`. Runs under jit and pmap.
    is_random: whether draws of one slice by different keys differ.
    """

    init: Callable[..., Any]
    update: Callable[[Any, Array, Batch], tuple[Any, dict[str, Array]]]
    loss: Callable[[Any, Array, Batch], dict[str, Array]]
    weights: Callable[[Any], Any]
    draw: Callable[[Any, Array, Float[Array, "b h w k"]], Samples]
    is_random: bool
