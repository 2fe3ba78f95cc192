"""The types that all parts of the package share."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Bool, Float, Int


class Batch(NamedTuple):
    """Pairs of axial slices in model units: [-1, 1], or [0, 1] in the paper's per-slice scaling.

    The MR has k = contrasts · (1 + 2·neighbours) channels, one contrast after the other. If the
    examples are slabs, the slices of n slabs follow each other, b = n·z.
    """

    mr: Float[Array, "b h w k"]
    ct: Float[Array, "b h w 1"]
    valid: Float[Array, "b h w 1"]  # 1 where the CT was measured and counts in losses, else 0
    # Triangular factors of the noise's covariance between slices, see `sampling.along_z`.
    along_z: Float[Array, "n f z z"] | None = None
    patient: Int[Array, " n"] | None = None  # in validation, the number of each example's patient

    @property
    def mr_volumes(self) -> Float[Array, "n z h w k"]:
        """The MR of each example as a volume; a single slice is a volume with z = 1."""
        examples = len(self.mr) if self.along_z is None else len(self.along_z)
        return self.mr.reshape(examples, -1, *self.mr.shape[1:])


class ScoreFn(Protocol):
    """The score ∇ log p_t(x). A conditional score holds its condition, such as the MR."""

    def __call__(self, x: Float[Array, "b *d"], t: Float[Array, " b"]) -> Float[Array, "b *d"]: ...


class Samples(NamedTuple):
    """The result of a sampler, with one entry for each sample."""

    x: Float[Array, "b *d"]
    nfe: Int[Array, " b"]  # score (network) evaluations of each sample
    ok: Bool[Array, " b"]  # whether the sample is finite and the solver reached the end


class Ensemble(NamedTuple):
    """Monte-Carlo draws of the same samples, with their mean and standard deviation."""

    mean: Float[Array, "b *d"]
    std: Float[Array, "b *d"]  # sample standard deviation (M - 1); NaN for a single draw
    draws: Float[Array, "m b *d"]
    nfe: Int[Array, "m b"]
    ok: Bool[Array, "m b"]


class Comparison(NamedTuple):
    """How validation compares draws with the CTs, in addition to the losses.

    draw(params, keys, mr) -> Samples: like a Method's `draw`, but [n, z, h, w, c] with any c.
    measured(drawn, batch) -> {name: figure}: computed on the host from two draws of all validation
      slices, NumPy [2, n, h, w, c].
    """

    draw: Callable[..., Samples]
    measured: Callable[[Any, Batch], dict[str, float]]


class Method(NamedTuple):
    """A way to learn CT from MR, as pure functions. All methods train in the same loop.

    init(key, batch, params=None) -> state: parameters, optimiser and moving averages as one tree.
      `params`, as returned by `weights`, replace the random initial ones.
    update(state, keys, batch) -> (state, metrics): one training step. `keys` has one key for each
      example, so that the step does not depend on how the batch is divided over devices. Metrics
      contain "loss", "gradient_norm", "learning_rate" and "skipped", which is 1 where a value was
      not finite and the state was kept, else 0. A method that trains one network after another adds
      "network", the number of the one in training.
    loss(state, keys, batch) -> {name: value}: the validation losses.
    weights(state) -> the parameters for synthesis: the moving average where there is one.
    params(**items) -> these parameters, rebuilt from their fields or items in a checkpoint.
    draw(params, keys, mr, along_z=None) -> Samples: a synthetic CT in model units, [n, z, h, w, 1],
      for each of n keys and MR volumes [n, z, h, w, k], from the parameters of `weights`. It runs
      under jit and pmap. z is 1 for independent slices.
      `along_z`, [z, z] or [f, z, z], is the triangular factor of the noise's covariance between
      slices, see `sampling.along_z`; None draws them independently. If the method has `means`,
      their result for these MRs may be given as a fifth argument; without it, `draw` computes them.
    is_random: whether different keys give different draws of a volume.
    comparison: how validation compares draws with the CTs if the loss is finite; None for no
      comparison.
    validated(params, losses) -> the parameters for synthesis, adjusted by the losses and
      measurements of the same validation. The default leaves them as they are.
    needs_teacher: whether training must begin with the weights of another training.
    means(params, mr) -> [n, z, h, w, m]: the CTs of a regression, from which draws begin. They do
      not depend on the key, so many draws of one MR can share them. They cost m evaluations per
      slice. None where draws do not begin from a regression.
    """

    init: Callable[..., Any]
    update: Callable[[Any, Array, Batch], tuple[Any, dict[str, Array]]]
    loss: Callable[[Any, Array, Batch], dict[str, Array]]
    weights: Callable[[Any], Any]
    draw: Callable[..., Samples]
    is_random: bool
    validated: Callable[[Any, Mapping[str, float]], Any] = lambda params, losses: params
    needs_teacher: bool = False
    comparison: Comparison | None = None
    params: Callable[..., Any] = dict
    means: Callable[[Any, Array], Array] | None = None
