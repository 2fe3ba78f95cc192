"""Several networks of one recipe on one MR: what each leaves open, and where they disagree.

Deep ensembles (Lakshminarayanan et al., NeurIPS 2017): networks that differ in the seed of their
training agree where the data taught them and disagree where they did not.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sde_ct.errors import InputError
from sde_ct.methods import build_network
from sde_ct.synthesis.synthesizer import Drawn, Synthesizer, SyntheticCT, summary
from sde_ct.synthesis.trained import Trained
from sde_ct.uncertainty.draws import decompose
from sde_ct.volumes.volume import Volume


class DeepEnsemble:
    """Synthesizers of several networks as one; called as a `Synthesizer` is."""

    def __init__(self, members: Sequence[Synthesizer]):
        """`members`: 2 or more, of networks that `require_alike` lets pass, with one sampler."""
        self._members = tuple(members)

    def require_draws(self, draws: int) -> None:
        """Refuse a number of draws that cannot be shared out over the networks."""
        count = len(self._members)
        if draws < 1 or draws % count:
            raise InputError(f"draws={draws} for {count} networks: give a multiple of {count}.")
        for member in self._members:
            member.require_draws(draws // count)
        if draws == count and member.is_random:
            raise InputError(
                f"draws={draws} for {count} networks: give 2 draws each or more, else what a "
                "network leaves open looks like a disagreement."
            )

    def __call__(
        self,
        mr: Volume,
        *,
        case: str,
        draws: int = 10,
        seed: int = 0,
        mask: Volume | None = None,
        progress: Callable[[range], Any] = iter,
    ) -> SyntheticCT:
        """As a `Synthesizer`, with `within` and `between`; `draws` are those of all networks.

        The networks' draws follow each other and are numbered on, so that no two share their
        noise: those of the first are what it draws alone.
        """
        self.require_draws(draws)
        each = draws // len(self._members)
        drawn = [
            member.draw(
                mr,
                case=case,
                draws=each,
                first=number * each,
                seed=seed,
                mask=mask,
                progress=progress,
            )
            for number, member in enumerate(self._members)
        ]
        return join(drawn, self._members[0].air)


def join(drawn: Sequence[Drawn], air: float) -> SyntheticCT:
    """The networks' draws together: their spread is that of a draw from a network at random.

    Its square is the sum of those of `within`, what the networks leave open, and of `between`,
    where they disagree, but for voxels where that would be below 0 by chance and is written as 0.
    A network without randomness leaves nothing open: `within` is then None.
    """
    together = Drawn(
        np.concatenate([one.hu for one in drawn]),
        drawn[0].shown,
        evaluations=float(np.mean([one.evaluations for one in drawn])),
        seconds=float(np.mean([one.seconds for one in drawn])),
        unseen=tuple(dict.fromkeys(w for one in drawn for w in one.unseen)),
    )
    ct, each = summary(together, air), len(drawn[0].hu)
    if each == 1:
        return replace(ct, between=ct.spread)

    def deviation(variance: np.ndarray) -> Volume:
        return ct.mean.with_array(np.sqrt(np.maximum(variance, 0)).astype(np.float32))

    arrays = [draw.array for draw in ct.draws]
    found = decompose([arrays[first : first + each] for first in range(0, len(arrays), each)])
    return replace(
        ct,
        spread=deviation(found.within + found.between),
        within=deviation(found.within),
        between=deviation(found.between),
    )


def require_alike(networks: Sequence[tuple[str, Trained]]) -> None:
    """Refuse networks whose draws are no draws of the same thing.

    Args:
      networks: each with the name of its work directory.

    Raises:
      InputError: something of `KEPT_ALIKE` differs, or two are one.
    """
    (first, one), *others = networks
    for name, other in others:
        for words, left, right in zip(KEPT_ALIKE, _alike(one), _alike(other), strict=True):
            if left != right:
                raise InputError(
                    f"{first} and {name} differ in {words} ({left} and {right}): give networks of "
                    "one recipe and data that differ in their training's seed."
                )
    hashes = [network.sha256() for _, network in networks]
    for number, (name, _) in enumerate(networks):
        if (twin := hashes.index(hashes[number])) < number:
            raise InputError(
                f"{networks[twin][0]} and {name} are one network: give others, trained from other "
                "seeds."
            )


KEPT_ALIKE = (
    *("method", "MR intensity map", "CT intensity map", "neighbours", "size", "spacing"),
    "multiple of the slices' sides",
)


def _alike(network: Trained) -> tuple[Any, ...]:
    maps, data = network.intensity, network.data
    return (
        network.config.method,
        maps.mr,
        maps.ct,
        network.config.data.neighbours,
        data["size"],
        data["spacing"],
        build_network(network.config).multiple,
    )
