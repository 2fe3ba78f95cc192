"""Apply several networks of one recipe to one MR, to separate ambiguity from disagreement.

Deep ensembles (Lakshminarayanan et al., NeurIPS 2017): networks that differ in the seed of their
training agree where the data taught them and disagree where it did not.
"""

from collections.abc import Sequence
from typing import Any

from sde_ct.errors import InputError
from sde_ct.methods import build_network
from sde_ct.synthesis.synthesizer import Synthesizer
from sde_ct.synthesis.synthetic_ct import SyntheticCT, combine
from sde_ct.synthesis.trained import Trained
from sde_ct.volumes.volume import Volume


class DeepEnsemble:
    """Several synthesizers that are called as one `Synthesizer`."""

    def __init__(self, members: Sequence[Synthesizer]):
        """`members` are 2 or more, with the same sampler and networks that pass `require_alike`."""
        self._members = tuple(members)

    def require_draws(self, draws: int) -> None:
        """Raise InputError if the networks cannot share the draws, or random ones get one each."""
        count = len(self._members)
        if draws < 1 or draws % count:
            raise InputError(f"draws={draws} for {count} networks: give a multiple of {count}.")
        for member in self._members:
            member.require_draws(draws // count)
        if draws == count and member.is_random:
            raise InputError(
                f"draws={draws} for {count} networks: give 2 draws per network or more, because "
                "one draw of each network cannot separate ambiguity from disagreement."
            )

    def __call__(self, mr: Volume, *, case: str, draws: int = 10, **options: Any) -> SyntheticCT:
        """As `Synthesizer`, but the networks share `draws`, and `combine` splits the spread.

        The draws are numbered across all networks, so that no two use the same noise. The first
        network gives the same draws as without the others.
        """
        self.require_draws(draws)
        each = draws // len(self._members)
        drawn = [
            member.draw(mr, case=case, draws=each, first=number * each, **options)
            for number, member in enumerate(self._members)
        ]
        return combine(drawn, self._members[0].air)


def require_alike(networks: Sequence[tuple[str, Trained]]) -> None:
    """Raise InputError if networks differ in one of `_properties`, or if two have equal weights.

    Args:
      networks: each network with the name of its work directory.
    """
    (first, one), *others = networks
    for name, other in others:
        for words, value in _properties(one).items():
            if value != (differing := _properties(other)[words]):
                raise InputError(
                    f"{first} and {name} differ in {words} ({value} and {differing}): give "
                    "networks of one recipe and data that differ in their training's seed."
                )
    names: dict[str, str] = {}
    for name, network in networks:
        if twin := names.get(digest := network.sha256()):
            raise InputError(
                f"{twin} and {name} are the same network: give networks trained from different "
                "seeds."
            )
        names[digest] = name


def _properties(network: Trained) -> dict[str, Any]:
    """The properties that networks must share, each named as in an error message."""
    maps, data = network.intensity, network.data
    return {
        "method": network.config.method,
        "dropout": network.config.network.dropout,
        "MR intensity map": maps.mr,
        "CT intensity map": maps.ct,
        "neighbours": network.config.data.neighbours,
        "MR contrasts": network.contrasts,
        "size": data["size"],
        "spacing": data["spacing"],
        "correction of the bias field": data.get("n4", False),
        "multiple of the slices' sides": build_network(network.config).multiple,
    }
