"""Mean and variance of draws, and the split of several networks' variance into its two causes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from sde_ct.errors import InputError

NOT_AIR_ABOVE = -400  # HU
MOST_NOT_AIR = 0.01  # share of the surrounding air above `NOT_AIR_ABOVE`; real CTs: 0.1 % or less
WINDOW_FROM = -950  # HU; a window of training that begins higher holds no air
AIR_MEAN = -850  # HU; the highest mean that is expected of the surrounding air
FEWEST_VOXELS = 100  # of surrounding air; a share of fewer voxels says little
# HU. Draws with a smaller mean spread have collapsed: CTs are stored in steps of 1 HU.
AGREEING = 1.0


def require_draws(draws: int) -> None:
    """Raise InputError for fewer than 2 draws, which have no spread."""
    if draws < 2:
        raise InputError(f"A spread needs at least 2 draws and there is {draws}: draw more.")


def moments(
    draws: Sequence[Float[np.ndarray, "*d"]] | Float[np.ndarray, "m *d"],
) -> tuple[Float[np.ndarray, "*d"], Float[np.ndarray, "*d"]]:
    """Mean (HU) and variance (HU², M - 1 in the denominator) of M >= 2 draws, in float64.

    Draws are added one after another, so that the working memory does not grow with M.
    """
    require_draws(len(draws))
    zero = np.zeros(draws[0].shape)
    mean = sum(draws, start=zero) / len(draws)
    return mean, sum((np.square(draw - mean) for draw in draws), start=zero) / (len(draws) - 1)


def collapse_warning(spread: float, draws: int) -> str | None:
    """A warning if draws with this mean spread over the body (HU) are nearly equal, else None."""
    if spread >= AGREEING:
        return None
    return (
        f"The {draws} draws have a mean spread of {spread:.1g} HU over the body: they are nearly "
        "equal, so the spread says nothing about the error."
    )


class AirFigures(NamedTuple):
    """Figures of the air that the MR shows around the body, each the largest of any draw."""

    not_air: float  # share above `NOT_AIR_ABOVE`
    mean: float  # HU

    @property
    def warning(self) -> str | None:
        """A warning if a figure is larger than expected, else None."""
        if self.not_air > MOST_NOT_AIR:
            found = (
                f"{100 * self.not_air:.2g} % of the air around the body lies above {NOT_AIR_ABOVE} "
                f"HU (at most {100 * MOST_NOT_AIR:g} % is expected)"
            )
        elif self.mean > AIR_MEAN:
            found = (
                f"the air around the body has {self.mean:.0f} HU on average (at most {AIR_MEAN} "
                "HU is expected)"
            )
        else:
            return None
        return (
            f"In one draw or more, {found}: do not use this CT. Use more network evaluations or "
            "another sampler, or train the network for longer."
        )


def air_figures(
    draws: Float[np.ndarray, "m *d"], air: Bool[np.ndarray, "*d"], low: float
) -> AirFigures | None:
    """The figures of draws (HU) in known air, or None if they cannot be judged.

    Draws cannot be judged if fewer than `FEWEST_VOXELS` voxels are known to be air, or if the
    network's window of HU begins at a `low` above `WINDOW_FROM`.
    """
    if np.sum(air) < FEWEST_VOXELS or low > WINDOW_FROM:
        return None
    return AirFigures(
        not_air=max(float(np.mean(draw[air] > NOT_AIR_ABOVE)) for draw in draws),
        mean=max(float(np.mean(draw[air], dtype=float)) for draw in draws),
    )


def worst(figures: Sequence[AirFigures | None]) -> AirFigures | None:
    """The largest figures over several networks; None if no network could be judged."""
    known = [one for one in figures if one is not None]
    return AirFigures(*map(max, zip(*known, strict=True))) if known else None


class Decomposition(NamedTuple):
    """Variances of every voxel, HU². The sum estimates that of a draw from a random network."""

    within: Float[np.ndarray, "*d"]
    between: Float[np.ndarray, "*d"]


def decompose(members: Sequence[Sequence[Float[np.ndarray, "*d"]]]) -> Decomposition:
    """Split the variance of several networks' draws by the law of total variance.

    `within` is the ambiguity of the data: the variance of a network's draws, averaged over
    networks. `between` is the networks' lack of knowledge: the variance of their means, minus the
    part that is due to the finite number of draws (deep ensembles, Lakshminarayanan et al., NeurIPS
    2017; Depeweg et al., ICML 2018). `between` is unbiased but can be below 0 in single voxels, so
    interpret only its average over voxels.

    Args:
        members: for each network, M >= 2 draws of one patient on one grid, HU.

    Raises:
        InputError: fewer than 2 networks or draws, or different shapes.
    """
    shapes = [(len(draws), *draws[0].shape) for draws in members]
    if len(members) < 2 or len(set(shapes)) > 1:
        raise InputError(
            "A decomposition needs the same number of draws on one grid from each of at least 2 "
            f"networks, and the shapes are {shapes}: draw equally often from every network."
        )
    means, variances = zip(*map(moments, members), strict=True)
    within = np.mean(variances, axis=0)
    return Decomposition(within, moments(means)[1] - within / len(members[0]))
