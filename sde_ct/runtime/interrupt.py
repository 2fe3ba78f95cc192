"""SIGTERM and Ctrl-C: the step is finished and saved before the program ends."""

import signal
import threading
from types import FrameType

import jax

from sde_ct.runtime import peers


class Interruption:
    """A context manager that notes the first SIGTERM or SIGINT instead of ending the program.

    The second signal ends the program at once, as usual. Where there are several processes, each
    leaves SIGTERM to JAX, which informs all of them, and treats Ctrl-C as a SIGTERM.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None  # the one that came
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            if jax.process_count() == 1:
                handlers = dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._note)
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
        """Whether to end before training `step`; the same on every process of the run."""
        if peers.stop_requested(step):
            self.signal = signal.SIGTERM
        return self.signal is not None
