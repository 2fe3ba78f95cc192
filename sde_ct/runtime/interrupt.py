"""After SIGTERM or Ctrl-C, finish and save the step before the program ends."""

import signal
import threading
from types import FrameType

import jax

from sde_ct.runtime import peers


class Interruption:
    """A context manager that notes the first SIGTERM or SIGINT instead of ending the program.

    The second signal ends the program at once, as usual. If there are several processes, JAX
    handles SIGTERM and informs all of them, and Ctrl-C is treated as a SIGTERM.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None  # the signal that was received
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        # Python allows handlers only in the main thread.
        if threading.current_thread() is threading.main_thread():
            # Counting the processes would start JAX's devices where they are not in use yet.
            if not jax.distributed.is_initialized() or jax.process_count() == 1:
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
        """Whether to end before training `step`; all processes of the run get the same answer."""
        if peers.stop_requested(step):
            self.signal = signal.SIGTERM
        return self.signal is not None
