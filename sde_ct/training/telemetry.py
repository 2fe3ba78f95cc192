"""What a run shows while it runs: a progress bar, TensorBoard, and metrics.jsonl."""

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from sde_ct.runtime.bars import bar
from sde_ct.storage.whole import whole
from sde_ct.training.checkpoint import cause

Report = Callable[[int, dict[str, float]], None]  # (step, {"train/loss": 0.1, …})


class Telemetry:
    """Scalars, images and warnings of one training run; a context manager.

    Figures that can't be written, as on a full disk, are told once and do not end the training.
    """

    def __init__(
        self,
        workdir: Path,
        title: str,
        start: int,
        steps: int,
        batch: int,
        show: bool = True,
        report: Report | None = None,
    ):
        """From step `start` on: what an earlier start wrote of later steps is taken back.

        `report(step, figures)` is called with all figures too.
        """
        self._report = report
        folder = Path(workdir) / "tensorboard"
        folder.mkdir(exist_ok=True)
        # tensorboardX's own writer is a thread behind a queue, which waits for ever once the disk
        # is full; and its files have the second for a name.
        self._events = EventsWriter(str(folder / "events"), f".{start}.{time.time_ns()}")
        self._write_event(Event(session_log=SessionLog(status=SessionLog.START), step=start + 1))
        _drop_after(Path(workdir) / "metrics.jsonl", start)
        self._lines = (Path(workdir) / "metrics.jsonl").open("a")
        self._told = False
        self._bar = bar(
            total=steps, initial=start, desc=title, unit="step", disable=not show, smoothing=0.1,
            dynamic_ncols=True,
        )  # fmt: skip
        self._steps, self._batch = steps, batch
        self._since = (start, time.perf_counter())

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
        for stream in (self._lines, self._events):
            try:
                stream.close()
            except OSError as error:
                self._tell(error)

    def advance(self) -> None:
        self._bar.update()

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Write the figures of one step; the loss is shown beside the bar."""
        values = {name: float(value) for name, value in values.items()}
        for name, value in values.items():
            event = Event(step=step, summary=summary.scalar(f"{group}/{name}", value))
            self._write_event(event)
        self._flush()
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._write_line({"step": step, "group": group, **finite})  # JSON knows no NaN
        if self._report:
            self._report(step, {f"{group}/{name}": value for name, value in values.items()})

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the step's figures beside the bar; write the pace and the memory in use."""
        before, then = self._since
        self._since = (step, time.perf_counter())
        pace = (step - before) / max(self._since[1] - then, 1e-9)
        values = {
            "images_per_second": pace * self._batch,
            "seconds_left": (self._steps - step) / pace if pace else float("nan"),
            "memory_gib": memory_in_use() / 2**30,
        }
        self.scalars(step, "pace", values)
        shown = {
            "loss": f"{metrics['loss']:.4g}",
            "gradient": f"{metrics['gradient_norm']:.3g}",
            "rate": f"{metrics['learning_rate']:.3g}",
            "images/s": f"{values['images_per_second']:.3g}",
            "GiB": f"{values['memory_gib']:.2f}",
        }
        self._bar.set_postfix(shown, refresh=False)

    def warn(self, step: int, sentence: str) -> None:
        """Tell on stderr, in metrics.jsonl and in TensorBoard."""
        logging.warning("%s", sentence)
        self._write_event(Event(step=step, summary=summary.text("warning", sentence)))
        self._flush()
        self._write_line({"step": step, "group": "warning", "text": sentence})

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Show [n, h, w] images in [0, 1] side by side."""
        row = np.concatenate([np.flipud(image) for image in images], axis=1)
        gray = np.clip(row, 0, 1).astype(np.float32)
        self._write_event(Event(step=step, summary=summary.image(name, gray, dataformats="HW")))

    def _write_line(self, line: dict) -> None:
        try:
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()
        except OSError as error:
            self._tell(error)

    def _write_event(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            self._events.write_event(event)
        except OSError as error:
            self._tell(error)

    def _flush(self) -> None:
        try:
            self._events.flush()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            logging.warning("The run's figures can't be written (%s): it goes on", cause(error))
        self._told = True


def memory_in_use() -> int:
    """Bytes at most until now: of the fullest device, or of the process where none tells."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if s and "peak_bytes_in_use" in s]
    unit = 1 if sys.platform == "darwin" else 1024
    return max(peaks, default=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines, without one that a kill or a full disk cut short."""
    lines = []
    if Path(path).is_file():
        for text in Path(path).read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines.append(line)
    return lines


def _drop_after(path: Path, step: int) -> None:
    """Leave out what came after `step`: those steps are trained anew, each stands here once."""
    path = Path(path)
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    if path.is_file() and path.read_text("utf-8", errors="replace") != text:
        with whole(path) as partial:
            partial.write_text(text)
