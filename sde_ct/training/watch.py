"""What each step's figures say of the training's health."""

import collections
import math
from collections.abc import Mapping

WINDOW = 100  # steps that a figure is compared with
SPIKE = 3.0  # times their largest loss: a diffusion loss swings by the noise levels drawn
WON = 0.01  # a discriminator's loss: it tells all apart and the generator learns nothing from it
LOST = (0.2475, 0.2525)  # within 1 % of ½ (½)² + ½ (½)²: it answers ½ whatever it is shown


class Watch:
    """Sees every step once, in order; `see` returns sentences worth a warning."""

    def __init__(self):
        self._losses = collections.deque(maxlen=WINDOW)
        self._games = collections.deque(maxlen=WINDOW)
        self._silent_until = 0
        self._game = "open"

    def see(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """`metrics`: of the update that led to `step`."""
        told = []
        if metrics["skipped"]:
            wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
            told.append(f"step {step}: {' and '.join(wrong)} not finite, the update is skipped")
        else:
            told += self._spike(step, metrics["loss"])
            if "discriminator" in metrics:
                told += self._discriminator(step, metrics["discriminator"])
        return told

    def _spike(self, step: int, loss: float) -> list[str]:
        largest = max(self._losses) if len(self._losses) == WINDOW else math.inf
        self._losses.append(loss)
        if not loss > SPIKE * largest > 0 or step < self._silent_until:
            return []
        self._silent_until = step + WINDOW  # one line for a series of them
        times = loss / largest
        return [
            f"step {step}: the loss {loss:.4g} is {times:.1f} times the largest of the {WINDOW} "
            "steps before"
        ]

    def _discriminator(self, step: int, loss: float) -> list[str]:
        self._games.append(loss)
        if len(self._games) < WINDOW:
            return []
        low, high = min(self._games), max(self._games)
        game = "won" if high < WON else "lost" if LOST[0] < low and high < LOST[1] else "open"
        before, self._game = self._game, game
        if game == before or game == "open":
            return []
        why = "tells every CT" if game == "won" else "tells no CT"
        return [
            f"step {step}: the discriminator is dead: for {WINDOW} steps its loss was {loss:.4f}, "
            f"it {why} from a synthetic one; change config.adversarial.learning_rate"
        ]
