"""What the host carries from step to step; saved in one unit with the state."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Where the training stands, beside the state on the devices."""

    step: int = 0
    best_loss: float = math.inf  # smallest validation loss
    best_step: int = 0  # after which it was seen
    skipped: int = 0  # updates left out because something was not finite
    lately: int = 0  # of them, those since the last scheduled checkpoint
    slowed: float = 1.0  # factor on the learning rates since a rollback

    def judge(self, loss: float) -> None:
        """Note a validation loss."""
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.step

    def to_json(self, iterator: dict[str, Any]) -> dict[str, Any]:
        best = self.best_loss if math.isfinite(self.best_loss) else None  # JSON knows no infinity
        return dataclasses.asdict(self) | {"best_loss": best, "iterator": iterator}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> tuple["Progress", dict[str, Any]]:
        """The progress and the iterator's state."""
        values = dict(values)
        iterator, best = values.pop("iterator"), values.pop("best_loss")
        return cls(**values, best_loss=math.inf if best is None else best), iterator
