"""Warnings about the health of a training, from the metrics of its steps."""

import collections
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from sde_ct.errors import InputError

WINDOW = 100  # preceding steps with which a loss is compared
SPIKE = 3.0  # a spike exceeds the largest of these losses by this factor; diffusion losses vary
WON = 0.01  # below this loss a discriminator recognises every CT, so the generator learns nothing
# Within 1 % of ½ (½)² + ½ (½)², the loss of a discriminator that answers ½ to every image.
LOST = (0.2475, 0.2525)
REMEDY = (
    "check these cases, or start again in another --workdir with a lower "
    "config.training.learning_rate or config.training.clip=1."
)


class Diverged(InputError):
    """Updates were skipped too often or at the end, or the last validation loss is not finite."""


class Watch:
    """Finds signs of trouble in the metrics of a training's steps, which it must see in order."""

    def __init__(self):
        self._skipped = 0  # how many of the newest updates, without a gap
        self._losses = collections.deque(maxlen=WINDOW)
        self._network = 0.0
        self._games = collections.deque(maxlen=WINDOW)
        self._silent_until = 0
        self._game = "open"

    def see(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Warnings that follow from the metrics of the update that led to `step`."""
        self._skipped = self._skipped + 1 if metrics["skipped"] else 0
        if self._skipped:
            wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
            return [f"step {step}: the update is skipped; not finite: {', '.join(wrong)}"]
        if (network := metrics.get("network", 0.0)) != self._network:
            self._network = network
            self._losses.clear()  # the loss of another network has another size
        warnings = self._spike(step, metrics["loss"])
        if "discriminator" in metrics:
            warnings += self._discriminator(step, metrics["discriminator"])
        return warnings

    def require_sound(self, workdir: Path, last: int, finite: bool, cases: Sequence[str]) -> None:
        """Raise Diverged if a training ended badly at step `last`, with a batch of `cases`.

        A single skipped update at the end may be by chance. `finite` says whether the last
        validation loss is finite.
        """
        end = f"(the last batch: {', '.join(cases)}): {REMEDY}"
        if self._skipped == last:
            what = f"all {last} updates were skipped because they were not finite"
            raise Diverged(f"{workdir}: {what}, so nothing was learned {end}")
        if self._skipped > 1:
            what = f"the last {self._skipped} updates were skipped because they were not finite"
            raise Diverged(f"{workdir}: {what} {end}")
        if not finite:
            raise Diverged(f"{workdir}: the last validation loss is not finite {end}")

    def _spike(self, step: int, loss: float) -> list[str]:
        largest = max(self._losses) if len(self._losses) == WINDOW else math.inf
        self._losses.append(loss)
        if not loss > SPIKE * largest > 0 or step < self._silent_until:
            return []
        self._silent_until = step + WINDOW  # one warning for a series of spikes
        return [
            f"step {step}: the loss {loss:.4g} is {loss / largest:.1f} times the largest of the "
            f"{WINDOW} steps before"
        ]

    def _discriminator(self, step: int, loss: float) -> list[str]:
        self._games.append(loss)
        if len(self._games) < WINDOW:
            return []
        low, high = min(self._games), max(self._games)
        game = "won" if high < WON else "lost" if LOST[0] < low and high < LOST[1] else "open"
        before, self._game = self._game, game
        if game in (before, "open"):
            return []
        recognised = "every CT" if game == "won" else "no CT"
        return [
            f"step {step}: the discriminator is dead: for {WINDOW} steps it has distinguished "
            f"{recognised} from a synthetic one (loss {loss:.4f}); change "
            "config.adversarial.learning_rate"
        ]
