"""What a run shows while it runs: a progress bar, TensorBoard, and `metrics.jsonl`."""

import contextlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
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

METRICS = "metrics.jsonl"  # one JSON object a line: {"step", "group", figures}
Report = Callable[[int, dict[str, float]], None]  # (step, {"train/loss": 0.1, …})


class Telemetry:
    """Scalars, images and warnings of one training run; a context manager.

    If they can't be written, as on a full disk, one warning says so and the training goes on.
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
        """Begin at step `start`, and remove the lines that an earlier start wrote on later steps.

        Args:
          workdir: of the training.
          title: of the progress bar.
          start, steps: the first and the last step.
          batch: slices in a batch, over all devices.
          show: whether to show the bar.
          report: also receives all figures.
        """
        self._steps, self._batch, self._report = steps, batch, report
        self._since, self._failed = (start, time.perf_counter()), False
        folder, lines = Path(workdir) / "tensorboard", Path(workdir) / METRICS
        folder.mkdir(exist_ok=True)
        # tensorboardX's SummaryWriter is not used, because its thread blocks for ever once the disk
        # is full, and two starts within one second would share a file.
        self._events = EventsWriter(str(folder / "events"), f".{start}.{time.time_ns()}")
        self._write_event(Event(session_log=SessionLog(status=SessionLog.START), step=start + 1))
        _drop_after(lines, start)
        self._lines = lines.open("a")
        self._bar = bar(
            total=steps, initial=start, desc=title, unit="step", disable=not show, smoothing=0.1,
            dynamic_ncols=True,
        )  # fmt: skip

    def __enter__(self) -> "Telemetry":
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()
        for stream in (self._lines, self._events):
            with self._full_disk():
                stream.close()

    def advance(self) -> None:
        self._bar.update()

    def scalars(self, step: int, group: str, values: Mapping[str, float]) -> None:
        """Write the figures of one step; TensorBoard gets those that are finite."""
        named = {f"{group}/{name}": float(value) for name, value in values.items()}
        for name, value in named.items():
            if math.isfinite(value):
                self._write_event(Event(step=step, summary=summary.scalar(name, value)))
        # JSON has no NaN.
        finite = {k: float(v) if math.isfinite(v) else None for k, v in values.items()}
        self._write_line({"step": step, "group": group, **finite})
        if self._report:
            self._report(step, named)

    def progress(self, step: int, metrics: Mapping[str, float]) -> None:
        """Show the step's figures beside the bar; write the pace and the peak memory."""
        before, then = self._since
        self._since = (step, time.perf_counter())
        pace = (step - before) / max(self._since[1] - then, 1e-9)
        values = {
            "images_per_second": pace * self._batch,
            "seconds_left": (self._steps - step) / pace if pace else math.nan,
            "memory_gib": memory_in_use() / 2**30,
        }
        self.scalars(step, "pace", values)
        beside = {
            "loss": f"{metrics['loss']:.4g}",
            "gradient": f"{metrics['gradient_norm']:.3g}",
            "rate": f"{metrics['learning_rate']:.3g}",
            "images/s": f"{values['images_per_second']:.3g}",
            "GiB": f"{values['memory_gib']:.2f}",
        }
        self._bar.set_postfix(beside, refresh=False)

    def warn(self, step: int, sentence: str) -> None:
        """Write a warning to stderr, metrics.jsonl and TensorBoard."""
        logging.warning("%s", sentence)
        self._write_event(Event(step=step, summary=summary.text("warning", sentence)))
        self._write_line({"step": step, "group": "warning", "text": sentence})

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Write [n, h, w] images in [0, 1], side by side, to TensorBoard."""
        row = np.concatenate([np.flipud(image) for image in images], axis=1)
        gray = np.clip(row, 0, 1).astype(np.float32)
        self._write_event(Event(step=step, summary=summary.image(name, gray, dataformats="HW")))

    def _write_line(self, line: dict) -> None:
        with self._full_disk():
            self._lines.write(json.dumps(line) + "\n")
            self._lines.flush()

    def _write_event(self, event: Event) -> None:
        event.wall_time = time.time()
        with self._full_disk():
            self._events.write_event(event)
            self._events.flush()

    @contextlib.contextmanager
    def _full_disk(self) -> Iterator[None]:
        """Run a block whose OSErrors do not end the training; the first of them is logged."""
        try:
            yield
        except OSError as error:
            if not self._failed:
                logging.warning(
                    "The run's figures can't be written (%s): the training goes on.", cause(error)
                )
            self._failed = True


def memory_in_use() -> int:
    """Peak bytes in use on one device, or in this process if devices do not report it."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if s and "peak_bytes_in_use" in s]
    unit = 1 if sys.platform == "darwin" else 1024
    return max(peaks, default=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, except those that a kill or a full disk truncated."""
    lines = []
    if Path(path).is_file():
        for text in Path(path).read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict) and isinstance(line.get("step"), int):
                    lines.append(line)
    return lines


def _drop_after(path: Path, step: int) -> None:
    """Remove the lines on steps after `step`, which are trained and written again."""
    kept = [line for line in read_metrics(path) if line["step"] <= step]
    text = "".join(json.dumps(line) + "\n" for line in kept)
    if path.is_file() and path.read_text("utf-8", errors="replace") != text:
        with whole(path) as partial:
            partial.write_text(text)
