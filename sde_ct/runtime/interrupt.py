"""SIGTERM and Ctrl-C: the step is finished and saved before the program ends."""

import signal
import threading
from types import FrameType

import jax

from sde_ct.runtime import peers


class Interruption:
    """A context manager that notes a first SIGTERM or SIGINT in place of ending the program.

    The second one ends it at once, as without this. Of several processes each leaves SIGTERM to
    JAX, by which all of them learn of it, and takes Ctrl-C as one.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.signal: signal.Signals | None = None  # the one that came
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # Python's demand
            if jax.process_count() == 1:
                handlers = dict.fromkeys(self.SIGNALS, self._note)
            else:
                handlers = {signal.SIGINT: self._pass_on}
            self._before = {number: signal.signal(number, f) for number, f in handlers.items()}
        return self

    def __exit__(self, *_) -> None:
        while self._before:
            signal.signal(*self._before.popitem())  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        self.__exit__()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.__exit__()
        signal.raise_signal(signal.SIGTERM)

    def before(self, step: int) -> bool:
        """Whether to end before training `step`, the same on every process of the run."""
        if peers.told_to_stop(step):
            self.signal = signal.SIGTERM
        return self.signal is not None
