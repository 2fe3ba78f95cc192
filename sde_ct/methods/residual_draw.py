"""`draw` of the methods that add a drawn residual to a regression's mean."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import Array, Float

from sde_ct.methods.decomposition import Decomposition, Params
from sde_ct.methods.mirroring import Draw, either_orientation
from sde_ct.methods.patient_effect import drawn_curves
from sde_ct.methods.slices import by_slices
from sde_ct.sampling.along_z import correlated_along_z
from sde_ct.sampling.chain import all_finite
from sde_ct.sde import SDE
from sde_ct.types import Samples, ScoreFn

# (params, mean, MR) -> the score of the residual
ScoreOf = Callable[[Params, Float[Array, "n z h w 1"], Float[Array, "n z h w k"]], ScoreFn]


def drawn(parts: Decomposition, sde: SDE, score_of: ScoreOf, run, finish) -> Draw:
    """`draw` of a Method.

    If images are mirrored in training, each draw mirrors the MR with probability 1/2, and mirrors
    its CT back. The mean of several draws then averages over both orientations, so its error falls.

    Args:
      parts: makes the mean.
      sde: the forward process of the residual.
      score_of: the score of the residual, from the parameters, the mean and the MR.
      run: a sampler.
      finish: `parts.ct` or `as_channels`.
    """

    def draw(
        params: Params, keys: Any, mr: Float[Array, "n z h w k"], along_z=None, means=None
    ) -> Samples:
        params = params.of_depth(mr.shape[1])
        mean = parts.mean_of_volumes(params.mean, mr) if means is None else means
        score = score_of(params, mean, mr)
        sample = run if along_z is None else correlated_along_z(run, along_z)
        rest = sample(keys, sde, score, mean.shape)
        curves = drawn_curves(params.patient_effect, keys, mr.shape[1])
        x = by_slices(partial(finish, params), mean, rest.x, curves)
        return Samples(x, rest.nfe + (means is None), rest.ok & all_finite(x))

    return either_orientation(draw) if parts.data.flip else draw
